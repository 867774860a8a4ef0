"""Run an ONNX export on images, without Flywheel: pip install onnxruntime pillow, then
python run_export.py model.onnx photo.jpg …"""

import json
import math
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def prepare(path: str, size: int, squeezed: bool) -> Image.Image:
    """An image file as the input of the network, exactly as Flywheel makes it.

    But for colour of 16 bits a channel, of which Pillow keeps the high byte: save such a file with 8 bits first.
    """
    file = Image.open(path)
    file.draft(None, (2 * size, 2 * size))  # a large JPEG at 1/2, 1/4 or 1/8, but no smaller than this
    image = ImageOps.exif_transpose(file)
    if image.mode == "F" or image.mode.startswith("I"):  # grey of more than 8 bits
        values = np.nan_to_num(np.asarray(image, dtype=np.float32)).clip(0)
        brightest = float(values.max(initial=0))
        scale = 255 if image.mode == "F" and brightest <= 1 else 2.0 ** -max(math.frexp(brightest)[1] - 8, 0)
        image = Image.fromarray((values * scale).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if squeezed:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    return image if image.size == (size, size) else ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def main(model: str, *photos: str) -> None:
    """Print each photo's class and how sure the model is. With several classes per photo, print each that it has."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes, size = json.loads(about["classes"]), int(about["size"])
    thresholds = json.loads(about["thresholds"]) if "thresholds" in about else None  # of several classes per photo
    for path in photos:
        image = prepare(path, size, squeezed=about["preparation"] == "squeezed")
        values = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None]  # (1, 3, size, size), 0 to 255
        (said,) = session.run(None, {"images": values})[0]
        if thresholds is None:
            print(f"{path}\t{classes[said.argmax()]}\t{said.max():.3f}")
            continue
        has = np.flatnonzero(said >= np.array(thresholds, np.float32))
        names, sure = "; ".join(classes[k] for k in has), "; ".join(f"{said[k]:.3f}" for k in has)
        print(f"{path}\t{names or 'none of these'}\t{sure}")


if __name__ == "__main__":
    main(*sys.argv[1:])
