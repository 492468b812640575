"""One peer of the cross-match benchmark, run by its own Python: prints seconds, writes the pairs it found.

    python crossmatch_peers.py PEER FOLDER RADIUS

Peers: hats-import, lsdb, astropy, ckdtree, stilts. FOLDER holds ``left/`` and ``right/`` (Parquet) and gets
``pairs-PEER.parquet``. LSDB works on what hats-import made there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIDES = ("left", "right")


def main() -> None:
    peer, folder, radius = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    found = globals()[peer.replace("-", "_")](folder, radius)
    sys.stdout.write(json.dumps(found) + "\n")


def _read(folder: Path, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = pq.read_table(folder / side)
    return tuple(rows.column(name).to_numpy() for name in ("ra", "dec", "id"))


def _keep(folder: Path, peer: str, left: np.ndarray, right: np.ndarray) -> None:
    pq.write_table(pa.table({"left": left, "right": right}), folder / f"pairs-{peer}.parquet")


def hats_import(folder: Path, radius: float) -> dict[str, float]:
    from dask.distributed import Client
    from hats_import import pipeline_with_client
    from hats_import.catalog.arguments import ImportArguments

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        start = time.perf_counter()
        for side in SIDES:
            arguments = ImportArguments(
                ra_column="ra",
                dec_column="dec",
                input_path=folder / side,
                file_reader="parquet",
                output_artifact_name=side,
                output_path=folder / "hats",
                pixel_threshold=1_000_000,
                progress_bar=False,
            )
            pipeline_with_client(arguments, client)
        return {"seconds": time.perf_counter() - start}


def lsdb(folder: Path, radius: float) -> dict[str, float]:
    import lsdb as peer
    from dask.distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        start = time.perf_counter()
        left, right = (peer.open_catalog(folder / "hats" / side) for side in SIDES)
        matched = left.crossmatch(
            right,
            radius_arcsec=radius,
            n_neighbors=1,
            suffixes=("_left", "_right"),
            require_right_margin=False,
        )
        matched.write_catalog(folder / "hats" / f"matched-{time.time_ns()}", catalog_name="matched")
        seconds = time.perf_counter() - start
        rows = matched[["id_left", "id_right"]].compute()
    _keep(folder, "lsdb", rows["id_left"].to_numpy(np.int64), rows["id_right"].to_numpy(np.int64))
    return {"seconds": seconds}


def astropy(folder: Path, radius: float) -> dict[str, float]:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    begin = time.perf_counter()
    (ra, dec, left_id), (ra2, dec2, right_id) = (_read(folder, side) for side in SIDES)
    start = time.perf_counter()
    index, sep, _ = SkyCoord(ra * u.deg, dec * u.deg).match_to_catalog_sky(
        SkyCoord(ra2 * u.deg, dec2 * u.deg)
    )
    near = sep.arcsec <= radius
    _keep(folder, "astropy", left_id[near], right_id[index[near]])
    end = time.perf_counter()
    return {"seconds": end - start, "loading": start - begin}


def ckdtree(folder: Path, radius: float) -> dict[str, float]:
    from scipy.spatial import cKDTree

    def vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        ra, dec = np.radians(ra), np.radians(dec)
        return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)

    begin = time.perf_counter()
    (ra, dec, left_id), (ra2, dec2, right_id) = (_read(folder, side) for side in SIDES)
    start = time.perf_counter()
    reach = 2 * np.sin(np.radians(radius / 3600) / 2)
    distance, index = cKDTree(vectors(ra2, dec2), balanced_tree=False).query(
        vectors(ra, dec), distance_upper_bound=reach * (1 + 1e-12), workers=2
    )
    near = np.isfinite(distance)
    _keep(folder, "ckdtree", left_id[near], right_id[index[near]])
    end = time.perf_counter()
    return {"seconds": end - start, "loading": start - begin}


def stilts(folder: Path, radius: float) -> dict[str, float]:
    for side in SIDES:
        if not (folder / f"{side}.fits").exists():
            from astropy.table import Table

            Table.from_pandas(pq.read_table(folder / side).to_pandas()).write(folder / f"{side}.fits")
    out = folder / "stilts.fits"
    command = [
        "stilts",
        "-Xmx12g",
        "tmatch2",
        "matcher=sky",
        f"params={radius}",
        "find=best1",
        "runner=parallel2",
    ]
    command += [f"in{i}={folder / side}.fits" for i, side in enumerate(SIDES, 1)]
    command += [
        "values1=ra dec",
        "values2=ra dec",
        "ocmd=keepcols 'id_1 id_2'",
        f"out={out}",
        "progress=none",
    ]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    from astropy.io import fits

    rows = fits.getdata(out, 1)
    _keep(folder, "stilts", np.asarray(rows["id_1"], np.int64), np.asarray(rows["id_2"], np.int64))
    return {"seconds": seconds}


if __name__ == "__main__":
    main()
