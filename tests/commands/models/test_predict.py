"""`flywheel predict` against a real trainer on a real port."""

import csv
import zipfile

import pytest
from typer.testing import CliRunner

import flywheel
from commands.models.predict import write_table
from shared.wire.models import PredictedBox, Prediction
from tests.trainer.learning import picture


def run(*words):
    return CliRunner().invoke(flywheel.app, ["predict", *map(str, words)], env={"COLUMNS": "300"})


def test_every_image_of_a_folder_gets_a_row(url, tmp_path):
    folder = tmp_path / "new"
    (folder / "more").mkdir(parents=True)
    for number in range(40):  # more than one request
        (folder / f"{number:02d}.png").write_bytes(picture([(220, 30, 30), (30, 30, 220)][number % 2], number))
    (folder / "more" / "=x.png").write_bytes(picture((30, 30, 220), 99))
    (folder / "broken.png").write_bytes(b"not an image")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "x.png").write_bytes(picture((30, 30, 220), 98))
    target = tmp_path / "out.csv"
    done = run(folder, "-o", target, "--trainer-url", url)
    assert done.exit_code == 1, done.output  # one cannot be read
    assert "41 images predicted by head-" in done.output
    assert "; 1 cannot be read" in done.output
    assert "Skipped system files: __MACOSX/." in done.output
    with target.open(newline="") as stream:
        rows = {row["filename"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 42
    assert [rows[f"{number:02d}.png"]["label"] for number in range(4)] == ["red", "blue", "red", "blue"]
    assert rows["more/=x.png"]["label"] == "blue"
    assert float(rows["00.png"]["p:red"]) + float(rows["00.png"]["p:blue"]) == pytest.approx(1, abs=1e-4)
    assert (rows["broken.png"]["label"], "is not an image" in rows["broken.png"]["problem"]) == ("", True)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_the_images_of_an_archive(url, tmp_path):
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"more/{number}.png", picture((220, 30, 30), number))
    done = run(tmp_path / "new.zip", "-o", tmp_path / "out.csv", "--trainer-url", url)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert [(row["filename"], row["label"]) for row in csv.DictReader(stream)] == [
            (f"more/{number}.png", "red") for number in range(3)
        ]


def test_impossible_input_gives_one_sentence_and_leaves_no_file(url, tmp_path):
    target = tmp_path / "out.csv"
    gone = run(tmp_path / "gone", "-o", target, "--trainer-url", url)
    assert "There is no file or folder" in str(gone.exception)
    (tmp_path / "one.png").write_bytes(picture((220, 30, 30), 1))
    said = run(tmp_path, "-o", target, "--version", "gone", "--trainer-url", url).exception
    assert "no model version 'gone'. There is none yet." in str(said)
    away = run(tmp_path, "-o", target, "--trainer-url", "http://127.0.0.1:9").exception
    assert "nothing answers at http://127.0.0.1:9 (connection refused)" in str(away)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "read me.txt").write_text("no photo")
    empty = run(tmp_path / "empty", "-o", target, "--trainer-url", url)
    assert "There is no image in" in str(empty.exception)
    assert "1 other file is not an image: .txt" in str(empty.exception)
    assert "Predicting" not in gone.output + empty.output
    assert not target.exists()


def test_boxes_get_a_row_each(tmp_path):
    box = PredictedBox(label="=cat", confidence=0.9, x=1234.56, y=2, w=30, h=40.5)
    found = Prediction(label="=cat", confidence=0.9, probabilities={"=cat": 0.9}, labels=["=cat"], boxes=[box, box])
    nothing = Prediction(label="", confidence=0.8, probabilities={"=cat": 0.2}, labels=[], boxes=[])
    target = tmp_path / "boxes.csv"
    write_table(target, [("a.png", found), ("b.png", nothing)], {"c.png": "is empty"})
    assert target.read_text().splitlines() == [
        "filename,label,confidence,x,y,width,height,problem",
        "a.png,'=cat,0.900000,1234.56,2.0,30.0,40.5,",
        "a.png,'=cat,0.900000,1234.56,2.0,30.0,40.5,",
        "b.png,,,,,,,",
        "c.png,,,,,,,is empty",
    ]
