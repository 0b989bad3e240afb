"""`headrace package`: a trained model of another framework as a folder that is served.

package.py       which ways there are to convert it, and whether what comes out answers as the framework does
from_torch.py    torch and Keras modules: ONNX, or torch.export programs
from_sklearn.py  estimators and pipelines: ONNX, or skops files
examples.py      example inputs: what they tell of a model's tensors
folder.py        headrace.toml, golden answers, the model card, checksums
"""
