"""Files of a survey from a server on this machine to a directory of a lake, beside curl.

    python benchmarks/survey_download.py [--files 200] [--megabytes 12] [--connections 8] [--rounds 5]
        [--folder FOLDER]

The server is a process of its own: a thread a connection, `os.sendfile` from the page cache, and the same
requests for both. The files are plain FITS, of ten different contents under as many names as asked for. Each
contender is a process of its own that writes to the same disk; they take turns, the first one changes from
round to round, and what was written before is deleted and synchronised before the clock runs. Rates are taken
from start to end of the transfers inside of the process (ours) or of the process (curl); `with start` counts
the imports of Python too. What came is compared with what was sent, byte by byte, after the clock.

* astrolake: `download_files`; names appear when files are whole, are FITS, and have the length that was said;
* curl: `curl --parallel`, nothing checked.
"""

from __future__ import annotations

import argparse
import filecmp
import http.server
import json
import multiprocessing
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

CONTENTS = 10


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the contents that the number in a name stands for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    contents: list[Path] = []  # noqa: RUF012 - of the process

    def do_GET(self) -> None:
        """Answer a request for a whole file."""
        path = self.contents[int(re.search(r"(\d+)\.fits$", self.path)[1]) % CONTENTS]
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            self.send_response(200)
            self.send_header("Content-Type", "application/fits")
            self.send_header("Content-Length", str(size))
            self.send_header("ETag", f'"{path.name}"')
            self.end_headers()
            sent = 0
            while sent < size:
                sent += os.sendfile(self.connection.fileno(), stream.fileno(), sent, size - sent)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(contents: list[Path], port: Connection) -> None:
    """Serve until the process ends."""
    Handler.contents = contents
    http.server.ThreadingHTTPServer.request_queue_size = 128
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    port.send(server.server_port)
    server.serve_forever()


def write_contents(folder: Path, megabytes: float) -> list[Path]:
    """Write noisy images, and read them once so that they lie in memory."""
    import numpy as np
    from astropy.io import fits

    side = int((megabytes * 1e6 / 4) ** 0.5)
    found = []
    for number in range(CONTENTS):
        noise = np.random.default_rng(number).normal(100.0, 5.0, (side, side)).astype(np.float32)
        found.append(folder / f"content{number}.fits")
        fits.PrimaryHDU(noise).writeto(found[-1])
        found[-1].read_bytes()
    return found


def ours(url: str, out: Path, files: int, connections: int) -> None:
    """Download, and print seconds and memory; runs in a process of its own."""
    from astrolake.data_access.download import RemoteFile, download_files
    from astrolake.data_access.services.client import HttpClient

    client = HttpClient("benchmark", float("inf"), connections)
    wanted = (RemoteFile(f"{url}/{i}.fits", f"{out.as_uri()}/{i}.fits") for i in range(files))
    begun = time.perf_counter()
    outcomes = list(download_files(wanted, client, connections))
    seconds = time.perf_counter() - begun
    if failed := [outcome.error for outcome in outcomes if outcome.error]:
        raise SystemExit(str(failed[0]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    # ru_maxrss would count the process that started this one, too.
    peak_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    mb = round(int(peak_kb) * 1024 / 1e6)
    print(json.dumps({"s": seconds, "mb": mb, "cpu": used.ru_utime + used.ru_stime}))


def run_ours(url: str, out: Path, args: argparse.Namespace) -> dict[str, float]:
    """Run our contender."""
    command = [sys.executable, __file__, "--url", url, "--out", str(out)]
    command += ["--files", str(args.files), "--connections", str(args.connections)]
    begun = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {**json.loads(printed), "with_start_s": time.perf_counter() - begun}


def run_curl(url: str, out: Path, args: argparse.Namespace) -> dict[str, float]:
    """Run curl."""
    out.mkdir()
    config = out.with_name("curl.config")
    lines = (f'url = "{url}/{i}.fits"\noutput = "{out}/{i}.fits"\n' for i in range(args.files))
    config.write_text("".join(lines))
    command = ["curl", "--no-progress-meter", "--fail", "--parallel", "--parallel-max", str(args.connections)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run([*command, "--config", str(config)], check=True)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"s": seconds, "cpu": cpu, "with_start_s": seconds, "mb": 0}


def compare(out: Path, contents: list[Path], files: int) -> None:
    """End the run when a file is not as it was sent."""
    names = sorted(path.name for path in out.iterdir())
    if names != sorted(f"{i}.fits" for i in range(files)):
        raise SystemExit(f"{out} has other files than were asked for: {names[:5]}")
    for i in range(files):
        if not filecmp.cmp(out / f"{i}.fits", contents[i % CONTENTS], shallow=False):
            raise SystemExit(f"{out}/{i}.fits is not as it was sent")


def measure(args: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Let the contenders take turns."""
    contents = write_contents(folder, args.megabytes)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(contents, there), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}"
    contenders = {"astrolake": run_ours, "curl": run_curl}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    try:
        for turn in range(args.rounds + 1):
            for name in sorted(contenders, reverse=bool(turn % 2)):
                out = folder / name
                os.sync()
                result = contenders[name](url, out, args)
                compare(out, contents, args.files)
                shutil.rmtree(out)
                # The first round loads code and files.
                if turn:
                    found[name].append(result)
                    print(f"{name}: {result}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    finally:
        server.terminate()
        server.join()
    return found


def report(found: dict[str, list[dict[str, float]]], megabytes: float) -> None:
    """Print the table."""
    print("| what | MB/s (min-max) | with start | CPU s | peak memory, MB | rate / curl's (min-max) |")
    print("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        rates = [megabytes / r["s"] for r in rounds]
        ratios = [other["s"] / r["s"] for r, other in zip(rounds, found["curl"], strict=True)]
        mb = max(r["mb"] for r in rounds)
        print(
            f"| {name} | {statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f}) "
            f"| {statistics.median(megabytes / r['with_start_s'] for r in rounds):.0f} "
            f"| {statistics.median(r['cpu'] for r in rounds):.1f} | {mb if mb else '-'} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=12.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to write to")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.url:
        ours(args.url, args.out, args.files, args.connections)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        report(measure(args, Path(folder)), args.files * args.megabytes)


if __name__ == "__main__":
    main()
