"""How pictures look, in figures: what they say, and that they do not depend on how large a picture was decoded."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from t2c_search.decoding.decode import decode, read_header
from t2c_search.decoding.look import FIGURES, LOOK, look
from t2c_search.decoding.metadata import measured_payload
from t2c_search.demo.world import draw


def scenes(count: int) -> list[Image.Image]:
    return [Image.fromarray(scene.image) for scene in draw(11, count)]


def apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_figures_of_plain_pictures_are_what_they_must_be() -> None:
    assert look(Image.new("RGB", (300, 200), "black")) == {
        "brightness": 0,
        "sharpness": 0,
        "entropy": 0,
        "print": "0" * 32,
    }
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    seen = look(Image.fromarray(halves))
    assert (seen["brightness"], seen["entropy"]) == (0.5, 1.0)
    assert seen["sharpness"] == 0.25  # along the edge one neighbour of four is the other colour
    assert look(Image.new("L", (1, 1), 255).convert("RGB"))["brightness"] == 1


def test_entropy_is_that_of_the_grey_levels() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (100, 100), np.uint8)
    share = np.bincount(grey.ravel()) / grey.size
    expected = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert look(Image.fromarray(grey).convert("RGB"))["entropy"] == pytest.approx(expected, abs=1e-3)


def test_blurring_takes_sharpness_and_nothing_else() -> None:
    for picture in scenes(12):
        seen = [look(picture.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 2, 4)]
        sharp = [each["sharpness"] for each in seen]
        assert sharp == sorted(sharp, reverse=True) and sharp[-1] < sharp[0] / 3
        assert seen[-1]["brightness"] == pytest.approx(seen[0]["brightness"], abs=0.02)


def test_contrast_and_brightness_leave_sharpness_as_it_is() -> None:
    for picture in scenes(6):
        pale = picture.point(lambda value: 100 + value // 3)
        assert look(pale)["sharpness"] == pytest.approx(look(picture)["sharpness"], rel=0.15)


@pytest.mark.parametrize("decode_size", [64, 128, 224, 448])
def test_figures_hardly_depend_on_the_size_that_a_model_asks_for(decode_size: int) -> None:
    for picture in scenes(4):
        content = io.BytesIO()
        picture.resize((1600, 1600), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        whole, scaled = (look(decode(content.getvalue(), size).pixels) for size in (None, decode_size))
        for name, least in zip(FIGURES, (0.01, 0.02, 0.1), strict=True):
            assert scaled[name] == pytest.approx(whole[name], abs=least)
        assert apart(scaled["print"], whole["print"]) <= 8


def test_prints_of_a_cropped_copy_are_alike_and_of_other_pictures_are_not() -> None:
    pictures = scenes(30)
    prints = [look(picture)["print"] for picture in pictures]
    for at, picture in enumerate(pictures):
        side = picture.width
        copy = picture.crop((side // 40, side // 40, side - side // 40, side - side // 40))
        own = [apart(look(copy)["print"], each) for each in prints]
        assert own[at] < min(np.delete(own, at))


def test_a_payload_tells_it_where_pixels_were_decoded() -> None:
    content = io.BytesIO()
    scenes(1)[0].save(content, "PNG")
    decoded = decode(content.getvalue(), None)
    assert measured_payload(decoded, 1, "")[LOOK] == look(decoded.pixels)
    assert LOOK not in measured_payload(read_header(content.getvalue()), 1, "")
