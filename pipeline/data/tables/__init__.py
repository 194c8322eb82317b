"""Tables: columns of numbers, categories and times that a person brings, as samples of a flow, and samples as such tables."""
