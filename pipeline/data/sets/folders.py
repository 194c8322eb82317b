"""Any folder of images in colour, such as the photographs of CelebA-HQ (Karras et al. 2018)."""

from pipeline.data.images.image_set import ImageSet
from pipeline.data.preparing.image_folders import read_folder

FOLDER = ImageSet(channels=3, side=None, originals=read_folder)
