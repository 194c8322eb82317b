"""Train, list, show and evaluate flows; prepare the images that they learn from; say what the columns of a table are.

python -m pipeline run two_circles
python -m pipeline run digits --jko.h 0.05 --jko.num-phases 12
python -m pipeline run my.yaml --cluster.num-workers 2 --store.tracking-uri http://mlflow:5000 --store.checkpoints s3://bucket/runs
python -m pipeline run two_circles --dry-run
python -m pipeline list
python -m pipeline ui
python -m pipeline show REF
python -m pipeline evaluate REF
python -m pipeline schema my.csv --to schema.yaml
python -m pipeline prepare image_folder --from photos --to s3://bucket/data --size 64
python -m pipeline report --real held_out.parquet --generated made.parquet --to report.html
"""

from pipeline.command.process import start

if __name__ == "__main__":
    start("pipeline.command.cli")
