#!/usr/bin/env python3
"""Reference numbers for the measures of crates/juror-media, by implementations of others.

    python3 -m venv venv && venv/bin/pip install "numpy<1.24" "scipy<1.12" "scikit-image<0.22" scikit-video==1.1.11 \\
        cpbd==1.0.7 siti-tools==0.3.0 ImageHash==4.3.2 sewar==0.4.6
    venv/bin/python scripts/golden-measures.py

Renders two grey pictures (dead leaves with texture and noise; the same after JPEG and a shift) and writes them with the numbers to
crates/juror-media/tests/fixtures/measures/. PSNR and SSIM: scikit-image. MS-SSIM: sewar. MSCN, GGD and AGGD: scikit-video, from
which the features of BRISQUE and NIQE are put together here (scikit-video's own functions call what SciPy no longer has,
and swap scales of diagonals). CPBD: the package cpbd. SI and TI: siti-tools. Picture hash: ImageHash.
"""
import io
import json
import sys
import types
from pathlib import Path

import numpy as np

# What the packages import at loading, use nowhere here, and newer versions of their dependencies no longer have.
import scipy.ndimage
scipy.ndimage.imread = None
import skimage.filters.edges
from skimage.filters import edges
if not hasattr(edges, "HSOBEL_WEIGHTS"):
    edges.HSOBEL_WEIGHTS = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 4.0
np.int, np.float, np.bool = int, float, bool

import imagehash
import scipy.linalg
import skvideo.measure  # noqa: F401
from cpbd.compute import compute as cpbd
from PIL import Image
from sewar.full_ref import msssim
from siti_tools.siti import SiTiCalculator
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skvideo.utils.mscn import compute_image_mscn_transform
from skvideo.utils.stats import aggd_features, ggd_features, paired_product

WIDTH, HEIGHT, PATCH = 224, 200, 96
OUT = Path(__file__).resolve().parent.parent / "crates/juror-media/tests/fixtures/measures"


def render():
    """Overlapping discs of many sizes, shaded, textured, a little noisy."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    picture = np.full((HEIGHT, WIDTH), 120.0)
    for _ in range(180):
        radius = 6 + 40 * rng.random() ** 4
        cx, cy = rng.random() * WIDTH, rng.random() * HEIGHT
        wave = 12 * np.sin((x * rng.normal() + y * rng.normal()) * 0.8)
        shade = 40 + 170 * rng.random() + 0.6 * (x - cx) + wave
        inside = np.clip(radius - np.hypot(x - cx, y - cy) + 0.5, 0, 1)
        picture += inside * (shade - picture)
    picture += rng.normal(0, 2.0, picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def worsen(picture):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=20)
    decoded = np.array(Image.open(stream))
    return np.roll(decoded, 1, axis=1)


def halved(picture):
    image = Image.fromarray(picture.astype(np.float32), mode="F")
    return np.array(image.resize((picture.shape[1] // 2, picture.shape[0] // 2), Image.BICUBIC))


def mscn(picture):
    return compute_image_mscn_transform(picture.astype(np.float32), extend_mode="nearest")[0]


def brisque(picture):
    features = []
    for scale in (picture.astype(np.float32), halved(picture)):
        coefficients = mscn(scale)
        features += list(ggd_features(coefficients.copy()))
        for product in paired_product(coefficients):
            alpha, mean, _, _, left, right = aggd_features(product)
            features += [alpha, mean, left ** 2, right ** 2]
    return features


def niqe_patches(picture):
    height, width = (side // PATCH * PATCH for side in picture.shape)
    cropped = picture[:height, :width]
    rows = []
    for scale, side in ((cropped.astype(np.float32), PATCH), (halved(cropped), PATCH // 2)):
        coefficients, features = mscn(scale), []
        for top in range(0, scale.shape[0], side):
            for left in range(0, scale.shape[1], side):
                patch = coefficients[top:top + side, left:left + side]
                alpha, _, bl, br, _, _ = aggd_features(patch.copy())
                row = [alpha, (bl + br) / 2]
                for product in paired_product(patch):
                    alpha, mean, bl, br, _, _ = aggd_features(product)
                    row += [alpha, mean, bl, br]
                features.append(row)
        rows.append(features)
    return np.hstack(rows)


def niqe(picture):
    """Distance to a made-up model: mean 0.5 + 0.01 i, covariance 0.01 + (0.1 + 0.01 i on the diagonal)."""
    index = np.arange(36)
    mean, covariance = 0.5 + 0.01 * index, 0.01 + np.diag(0.1 + 0.01 * index)
    patches = niqe_patches(picture)
    difference = patches.mean(axis=0) - mean
    pooled = (np.cov(patches.T) + covariance) / 2
    return float(np.sqrt(difference @ scipy.linalg.pinv(pooled) @ difference))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    reference = render()
    pictures = {"reference": reference, "worse": worsen(reference)}
    numbers = {"pictures": {}}
    for name, picture in pictures.items():
        (OUT / f"{name}.pgm").write_bytes(b"P5\n%d %d\n255\n" % (WIDTH, HEIGHT) + picture.tobytes())
        numbers["pictures"][name] = {
            "brisque": [float(f) for f in brisque(picture)],
            "niqe": niqe(picture),
            "cpbd": float(cpbd(picture.copy())),
            "spatial_information": float(SiTiCalculator.si(picture.astype(float))),
            "phash_of_middle": str(imagehash.phash(Image.fromarray(picture[84:116, 96:128]))),
        }
    a, b = pictures["reference"], pictures["worse"]
    numbers["temporal_information"] = float(SiTiCalculator.ti(b.astype(float), a.astype(float)))
    numbers["psnr"] = float(peak_signal_noise_ratio(a, b, data_range=255))
    numbers["ssim"] = float(structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255))
    numbers["ms_ssim"] = float(np.real(msssim(a, b, MAX=255)))
    (OUT / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
