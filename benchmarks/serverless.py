"""Cold start, time and memory of the function for uploaded images, from the archive that Lambda gets.

    make lambda-zip && python benchmarks/serverless.py

Each size runs in a process of its own that has the unpacked archive and boto3 and nothing else, on one
core, against moto. Images hold noise and as many stars as a field of SDSS (200 for a megapixel).
"""

import argparse
import importlib.util
import io
import json
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

import boto3
import numpy as np
from astropy.io import fits
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[1]
#: Size, and the seconds that the tier's document says.
SIZES = (((1024, 1024), 5), ((2048, 1489), 15), ((4096, 4096), 45))
STARS_PER_MEGAPIXEL, FWHM_PX, SKY_NOISE = 200, 3.0, 1.0
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
CHILD = """
import time
begun = time.perf_counter()
import json, os, resource, sys
sys.path[:0] = sys.argv[1:3]
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
import handler
handler.warm_processor()
told = {"start_s": time.perf_counter() - begun, "calls": []}
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for key in sys.argv[3:]:
    wall, cpu = time.perf_counter(), time.process_time()
    (image,) = handler.lambda_handler({"bucket": "sky", "key": key}, None)["images"]
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    told["calls"].append({"rows": image["rows"], "status": image["status"], **seconds})
told |= {"idle_mb": idle, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
print(json.dumps(told))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, help="by default the one in dist")
    archive = parser.parse_args().archive or max((ROOT / "dist").glob("astrolake-lambda-*.zip"))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "CATALOG_BUCKET": "catalogs",
        "LOG_LEVEL": "ERROR",
    }
    s3 = boto3.client("s3")
    for bucket in ("sky", "catalogs"):
        s3.create_bucket(Bucket=bucket)
    with tempfile.TemporaryDirectory() as folder:
        task, runtime = Path(folder) / "task", Path(folder) / "runtime"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(task)
        link_runtime(runtime)
        heads = (
            "pixels",
            "sources",
            "cold start s",
            "first s",
            "warm s",
            "warm CPU s",
            "document s",
            "peak MB",
        )
        print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
        for (columns, rows), document_s in SIZES:
            keys = [f"{columns}x{rows}-{seed}.fits" for seed in range(3)]
            for seed, key in enumerate(keys):
                s3.put_object(Bucket="sky", Key=key, Body=star_field(columns, rows, seed))
            told = measure(task, runtime, keys)
            first, *warm = told["calls"]
            best = min(warm, key=lambda call: call["wall_s"])
            cells = (
                f"{columns} x {rows}",
                first["rows"],
                f"{told['start_s']:.1f}",
                *(f"{seconds:.1f}" for seconds in (first["wall_s"], best["wall_s"], best["cpu_s"])),
                document_s,
                f"{told['peak_mb']:.0f}",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    server.stop()


def measure(task: Path, runtime: Path, keys: list[str]) -> dict:
    command = ["python3.12", "-I", "-S", "-B", "-c", CHILD, str(task), str(runtime), *keys]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert all(call["status"] == "done" for call in told["calls"]), told
    return told


def link_runtime(folder: Path) -> None:
    """Make a folder with boto3 and what it needs, as Lambda's runtime has it."""
    folder.mkdir()
    for name in RUNTIME:
        origin = Path(importlib.util.find_spec(name).origin)
        origin = origin.parent if origin.name == "__init__.py" else origin
        (folder / origin.name).symlink_to(origin)


def star_field(columns: int, rows: int, seed: int) -> bytes:
    """Return a FITS file of a field of stars with counts that double every 1.2 mag."""
    random = np.random.default_rng(seed)
    image = random.normal(100.0, SKY_NOISE, (rows, columns)).astype(np.float32)
    sigma, half = FWHM_PX / 2.3548, 12
    n_stars = int(STARS_PER_MEGAPIXEL * columns * rows / 1e6)
    box = np.arange(-half, half + 1)
    for _ in range(n_stars):
        x, y = random.uniform(half, columns - half - 1), random.uniform(half, rows - half - 1)
        flux = 60.0 * random.random() ** -1.6
        i, j = round(y), round(x)
        profile = np.exp(-((box[:, None] + i - y) ** 2 + (box[None, :] + j - x) ** 2) / (2 * sigma**2))
        image[i - half : i + half + 1, j - half : j + half + 1] += (
            min(flux, 1e6) * profile / (2 * np.pi * sigma**2)
        )
    cards = {
        **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "GAIN": 5.0},
        **{
            "CRPIX1": columns / 2,
            "CRPIX2": rows / 2,
            "CD1_1": -1.1e-4,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": 1.1e-4,
        },
        **{"FILTER": "r", "EXPTIME": 54.0, "MAGZERO": 27.0},
    }
    sink = io.BytesIO()
    fits.PrimaryHDU(image, fits.Header(cards)).writeto(sink)
    return sink.getvalue()


if __name__ == "__main__":
    main()
