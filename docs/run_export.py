"""Run an ONNX export on images, without Flywheel: pip install onnxruntime pillow, then
python run_export.py model.onnx photo.jpg …"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
classes, size = json.loads(about["classes"]), int(about["size"])
for path in sys.argv[2:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if about["preparation"] == "middle square":
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    else:
        image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    values = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None]  # (1, 3, size, size), 0 to 255
    (said,) = session.run(None, {"images": values})[0]
    print(f"{path}\t{classes[said.argmax()]}\t{said.max():.3f}")
