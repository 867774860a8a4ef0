"""Find boxes in images with an ONNX export of a detector, without Flywheel: pip install onnxruntime pillow, then
python run_detector.py model.onnx photo.jpg … [--threshold 0.5] [--draw FOLDER]

Prints one JSON object per image. Boxes are in pixels of the image as it is shown, upright."""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps


def opened(path: str, size: int) -> tuple[Image.Image, int, int]:
    """An image file, upright and in RGB, at full or reduced scale, and its full width and height."""
    file = Image.open(path)
    width, height = file.size
    least = max(round(2 * size * min(width, height) / max(width, height)), 1)
    file.draft(None, (least, least))  # a large JPEG at 1/2, 1/4 or 1/8, but no smaller than this
    if file.getexif().get(0x0112, 1) in (5, 6, 7, 8):
        width, height = height, width
    image = ImageOps.exif_transpose(file)
    if image.mode == "F" or image.mode.startswith("I"):  # grey of more than 8 bits
        values = np.nan_to_num(np.asarray(image, dtype=np.float32)).clip(0)
        brightest = float(values.max(initial=0))
        scale = 255 if image.mode == "F" and brightest <= 1 else 2.0 ** -max(math.frexp(brightest)[1] - 8, 0)
        image = Image.fromarray((values * scale).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB"), width, height


def on_canvas(image: Image.Image, width: int, height: int, size: int, background: list[int]) -> np.ndarray:
    """The image in the middle of a square, exactly as Flywheel lays it there."""
    scale = size / max(width, height)
    x, y = (size - width * scale) / 2, (size - height * scale) / 2
    across, down = width / image.width, height / image.height
    left, top = max(round(x), 0), max(round(y), 0)
    right, bottom = min(round(x + width * scale), size), min(round(y + height * scale), size)
    canvas = Image.new("RGB", (size, size), tuple(background))
    if right > left and bottom > top:
        box = (
            max((left - x) / scale / across, 0.0),
            max((top - y) / scale / down, 0.0),
            min((right - x) / scale / across, float(image.width)),
            min((bottom - y) / scale / down, float(image.height)),
        )
        canvas.paste(image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=box), (left, top))
    return np.asarray(canvas, dtype=np.float32).transpose(2, 0, 1)[None]  # (1, 3, size, size), 0 to 255


def picked(scores: np.ndarray, corners: np.ndarray) -> list[tuple[int, float, np.ndarray]]:
    """Class, score and corners of each object. Of boxes of a class that overlap by more than half, the best gives the
    score. The corners are a mean of all of them: the better and the nearer to the best one, the more a box counts."""
    points, classes = np.nonzero(scores >= 0.02)
    order = np.argsort(-scores[points, classes], kind="stable")[:1000]
    boxes, labels, values = corners[points[order]], classes[order], scores[points[order], classes[order]]
    found: list[tuple[int, float, np.ndarray]] = []
    free = np.ones(len(order), bool)
    for place in range(len(order)):
        if free[place]:
            near = np.where(labels == labels[place], overlaps(boxes[place], boxes), 0)
            near[place] = 1
            free &= near <= 0.5
            weights = np.where(near > 0.5, values**2 * np.exp(-((1 - near) ** 2) / 0.1), 0)
            found.append((int(labels[place]), float(values[place]), weights @ boxes / weights.sum()))
    return found[:300]


def suggested(found: list[tuple[int, float, np.ndarray]], threshold: float) -> list[tuple[int, float, np.ndarray]]:
    """Those that are worth at least this. The worth is the mean of two probabilities: that there is an object of this
    class, and that there is one of any class. Of several boxes in one place, only the most confident counts."""
    corners, kept, shown = np.array([box for *_, box in found]).reshape(-1, 4), [], []
    for number, (_, score, box) in enumerate(found):  # the most confident first
        here = overlaps(box, corners) >= 0.7
        here[number] = True
        if not here[kept].any():
            kept.append(number)
            best: dict[int, float] = {}
            for label, other, _ in (found[each] for each in np.flatnonzero(here)):
                best[label] = max(best.get(label, 0.0), other)
            if (score + min(sum(best.values()), 1.0)) / 2 >= threshold:
                shown.append(found[number])
    return shown


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box and each of the others, given by their corners."""
    shared = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(0).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / (areas - shared + 1e-9)


def main() -> None:
    """Print the boxes of each photo, and draw them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--threshold", type=float, help="lowest worth of a box; by default the model's own")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="where to save the photos with their boxes")
    asked = parser.parse_args()
    session = onnxruntime.InferenceSession(asked.model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    names, size = json.loads(about["classes"]), int(about["size"])
    threshold = float(about["threshold"]) if asked.threshold is None else asked.threshold
    for path in asked.photos:
        image, width, height = opened(path, size)
        canvas = on_canvas(image, width, height, size, json.loads(about["background"]))
        scores, corners = (each[0] for each in session.run(["scores", "corners"], {"images": canvas}))
        scale = size / max(width, height)
        shift = np.array([(size - width * scale) / 2, (size - height * scale) / 2] * 2)
        found = [
            (label, score, ((box - shift) / scale).clip(0, [width, height, width, height]))
            for label, score, box in picked(scores, corners.clip(0, size))
        ]
        boxes = []
        for label, score, box in suggested(
            [each for each in found if (each[2][2:] - each[2][:2]).min() >= 1], threshold
        ):
            x, y, right, bottom = box.tolist()
            place = {"x": round(x, 2), "y": round(y, 2), "w": round(right - x, 2), "h": round(bottom - y, 2)}
            boxes.append({"label": names[label], "confidence": round(score, 4), **place})
        print(json.dumps({"image": path, "width": width, "height": height, "boxes": boxes}, ensure_ascii=False))
        if asked.draw is not None:
            asked.draw.mkdir(parents=True, exist_ok=True)
            pen = ImageDraw.Draw(image)
            for each in boxes:
                x, y, w, h = (each[side] * image.width / width for side in "xywh")
                pen.rectangle((x, y, x + w, y + h), outline="red", width=2)
                pen.text((x + 3, y + 2), f"{each['label']} {each['confidence']:.2f}", fill="red")
            image.save(asked.draw / f"{Path(path).stem}.png")


if __name__ == "__main__":
    main()
