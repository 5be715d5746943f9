"""Compares `runrig stats --histogram --json` with numpy.histogram and looks at what --plot draws. Arguments: the command,
a folder, month-1.h5.
"""
import json
import pathlib
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zlib

import h5py
import numpy as np
from oracle import Failures

check = Failures()
command, folder, month = sys.argv[1:]
folder = pathlib.Path(folder)
source = str(folder / "source.h5")
random = np.random.default_rng(11)


def stats(*arguments):
    done = subprocess.run([command, "stats", *arguments], capture_output=True, text=True)
    check.expect(done.returncode == 0, arguments, "failed:", done.stderr)
    return done.stdout


with h5py.File(source, "w") as file:
    for dtype in ("?", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8"):
        values = random.normal(size=(300, 41)) * 40
        file[dtype] = (values > 0) if dtype == "?" else np.abs(values).astype(dtype)
    holes = random.normal(size=(900, 700)).astype("f4")  # larger than one worker does alone
    holes[random.random(holes.shape) < 0.1] = np.nan
    file.create_dataset("large", data=np.vstack([holes] * 4), chunks=(100, 100), compression=1, shuffle=True)
    file.create_dataset("filled", (2000, 3000), "f4", fillvalue=2.5, chunks=(100, 300))
    sparse = file.create_dataset("sparse", (5000, 3000), "f4", fillvalue=-1, chunks=(100, 300))
    sparse[1200:1230, 40:50] = 4
    file["&<odd> \"name\""] = np.arange(100)

with h5py.File(source) as file:
    for bins, options, chosen in ((10, [], None), (33, ["--memory", "16M", "--workers", "3"], None), (7, ["--range", "0.5,30"], (0.5, 30))):
        told = json.loads(stats(source, "--json", "--histogram", "--bins", str(bins), *options))["results"]
        check.expect(len(told) == len(file), "results", len(told))
        for each in told:
            values = file[each["dataset"]][()]
            real = values.astype("f8") if values.dtype.kind == "b" else values
            valid = real[~np.isnan(real)] if real.dtype.kind == "f" else real
            with np.errstate(all="ignore"):
                counts, edges = np.histogram(valid, bins=bins, range=chosen or (valid.min(), valid.max()))
            found = each["histogram"]
            where = (each["dataset"], bins)
            check.expect(found["counts"] == counts.tolist(), where, found["counts"], "instead of", counts)
            loose = 2e-3 if values.dtype == "f2" else 1e-6
            check.expect(np.allclose(found["edges"], edges.astype("f8"), rtol=loose), where, found["edges"], edges)
check.expect("histogram" not in json.loads(stats(source, "--json", "-d", "/i4"))["results"][0], "histogram, unasked")

# SVG: well formed, a bar for each bin with anything in it, proportional, above the axis; labels inside the figure.
plot = str(folder / "one.svg")
stats(source, "-d", "/large", "--plot", plot, "--bins", "25")
counts = json.loads(stats(source, "-d", "/large", "--histogram", "--bins", "25", "--json"))["results"][0]["histogram"]["counts"]
root = ElementTree.parse(plot).getroot()
width, height = float(root.get("width")), float(root.get("height"))
name = "{http://www.w3.org/2000/svg}"
bars = [each for each in root.iter(name + "rect")][1:]
check.expect(len(bars) == np.count_nonzero(counts), len(bars), "bars")
heights = np.array([float(each.get("height")) for each in bars])
seen = np.array([each for each in counts if each])
check.expect(np.allclose(heights / heights.max(), seen / seen.max(), atol=0.01), "bars are not as high as counts")
check.expect(all(float(each.get("x")) >= 0 and float(each.get("x")) + float(each.get("width")) <= width for each in bars), "bars outside")
feet = [float(each.get("y")) + float(each.get("height")) for each in bars]
check.expect(np.ptp(feet) < 0.02, "bars end at several heights")
texts = [each.text for each in root.iter(name + "text")]
check.expect("/large" in texts and any("NaN" in each for each in texts) and "0" in texts, texts)
for each in root.iter(name + "text"):
    check.expect(0 <= float(each.get("x")) <= width and 0 <= float(each.get("y")) <= height, each.text, "lies outside")
    check.expect(each.text.isprintable(), repr(each.text))
ticks = [float(each.text) for each in root.iter(name + "text") if each.get("text-anchor") == "middle" and each.text.replace(".", "").replace("-", "").isdigit()]
check.expect(len(ticks) >= 4 and np.allclose(np.diff(ticks), ticks[1] - ticks[0]), "ticks", ticks)

# Several panels, and names that need care.
stats(source, "--plot", plot)
root = ElementTree.parse(plot).getroot()
texts = [each.text for each in root.iter(name + "text")]
with h5py.File(source) as file:
    check.expect(all("/" + each in texts for each in file), "panels", texts)

# PNG: a valid picture with our colours in it, not blank.
picture = str(folder / "one.png")
stats(month, "-d", "/wind/u", "--plot", picture)
data = pathlib.Path(picture).read_bytes()
check.expect(data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG")
at, parts, header = 8, b"", None
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + length]
    check.expect(struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body), "checksum", kind)
    header = struct.unpack(">IIBB", body[:10]) if kind == b"IHDR" else header
    parts += body if kind == b"IDAT" else b""
    at += 12 + length
check.expect(header == (1280, 760, 8, 2), "header", header)
check.expect(len(zlib.decompress(parts)) == (1280 * 3 + 1) * 760, "rows")
check.expect(len(data) > 5000, "it is blank")
check.expect(not list(folder.glob("*.png.*")) and not list(folder.glob("*.svg.*")), "left over files")
check.leave()
