"""Indexes the images and artifacts below a data root and compares them with what the pipeline claims."""
