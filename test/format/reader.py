#!/usr/bin/env python3
"""Restores a disk of a recovery point from a copy of a vault's container. Follows docs/format.md and shares no code with Strata.

    reader.py CONTAINER                             lists items, points and disks as JSON
    reader.py CONTAINER ITEM POINT DISK OUTPUT      writes the disk to the file OUTPUT

CONTAINER is a folder with one file for each blob, by name. Needs Python 3.11 and libzstd.
"""
import ctypes
import ctypes.util
import hashlib
import json
import struct
import sys
from pathlib import Path

BLOCK = 16384
MOST_BLOCKS = 65536
MOST_MAP = 16777216


class Refused(Exception):
    """The vault is damaged, or newer than this reader."""


def check(holds, what):
    if not holds:
        raise Refused(what)


def load_zstd():
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return library


ZSTD = load_zstd()


def unzstd(data, size):
    """The `size` bytes that the zstd frame `data` gives."""
    raw = ctypes.create_string_buffer(max(size, 1))
    got = ZSTD.ZSTD_decompress(raw, size, data, len(data))
    check(got == size, f"zstd does not give {size} bytes")
    return raw.raw[:size]


def digest(name, *parts):
    sha = hashlib.sha256(name.encode() + b"\n")
    for part in parts:
        sha.update(part)
    return sha.digest()


class Columns:
    """Reads the map's columns one after another."""

    def __init__(self, raw):
        self.raw = raw
        self.at = 0

    def take(self, size):
        check(self.at + size <= len(self.raw), "a map ends too early")
        self.at += size
        return self.raw[self.at - size : self.at]

    def number(self):
        return struct.unpack("<I", self.take(4))[0]

    def numbers(self, count, kind):
        return struct.unpack(f"<{count}{kind}", self.take(count * struct.calcsize(f"<{kind}")))

    def text(self):
        return self.take(struct.unpack("<H", self.take(2))[0]).decode()


class Layer:
    """What one point changed in one region: packs, frames, extents, hashes."""

    def __init__(self, name, data):
        check(len(data) >= 96 and data[:8] == b"STRATALY", f"{name} is not a layer")
        version, map_bytes, raw_bytes, stored = struct.unpack("<H2xIII", data[8:24])
        check(version == 1, f"{name} has version {version}")
        packed = data[96 : 96 + map_bytes]
        check(digest(name, data[:64], packed) == data[64:96], f"{name} fails its checksum")
        hashes = data[96 + map_bytes :]
        check(len(hashes) == 32 * stored and digest(name, hashes) == data[32:64], f"{name} has damaged hashes")
        check(raw_bytes <= MOST_MAP, f"{name} states a map of {raw_bytes} bytes")
        columns = Columns(unzstd(packed, raw_bytes))
        self.packs = [(columns.text(), columns.number()) for _ in range(columns.number())]
        count = columns.number()
        tables = [columns.numbers(count, kind) for kind in ("I", "I", "I", "H", "B")]
        self.frames = list(zip(*tables))
        count = columns.number()
        gaps, counts, frames, slots = [columns.numbers(count, kind) for kind in ("I", "I", "I", "H")]
        check(columns.at == len(columns.raw), f"{name} has a map that is too long")
        self.blocks = {}
        end = hash_at = 0
        for gap, length, frame, slot in zip(gaps, counts, frames, slots):
            start = end + gap
            end = start + length
            check(length >= 1 and end <= MOST_BLOCKS and frame <= len(self.frames), f"{name} has an impossible extent")
            for k in range(length):
                if frame == 0:
                    self.blocks[start + k] = None
                    continue
                self.blocks[start + k] = (frame - 1, slot + k, hashes[hash_at : hash_at + 32])
                hash_at += 32
        check(hash_at == len(hashes), f"{name} has hashes for other blocks than its own")


class Vault:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.settings = self.document("v1/vault.json")

    def blob(self, name):
        path = self.folder / name
        check(path.is_file(), f"{name} is missing")
        return path.read_bytes()

    def document(self, name, expected=None):
        data = self.blob(name)
        check(data[:11] == b'{"sha256":"' and data[75:77] == b'",', f"{name} does not begin with its checksum")
        stated = data[11:75].decode("latin1")
        check(digest(name, data[77:]).hex() == stated, f"{name} fails its checksum")
        check(expected in (None, stated), f"{name} is not the document that its record names")
        value = json.loads(data)
        check(value["format"] == 1, f"{name} has format {value['format']}")
        return value

    def items(self):
        return sorted(path.name for path in (self.folder / "v1/items").iterdir())

    def newest_record(self, item):
        folder = f"v1/items/{item}/chain"
        records = sorted(path.name for path in (self.folder / folder).iterdir())
        check(records, f"item {item} has no chain record")
        return self.document(f"{folder}/{records[-1]}")

    def manifests(self, item):
        """The manifests of the live points, in snapshot order."""
        points = self.newest_record(item)["points"]
        return [self.document(entry["manifest"], entry["sha256"]) for entry in points]

    def stacks(self, item, point, disk):
        """The disk's size at the point, and for each region its layers, oldest first."""
        size, stacks = None, {}
        for manifest in self.manifests(item):
            if manifest["point"] > point:
                break
            for own in manifest["disks"]:
                if own["disk"] != disk:
                    continue
                if manifest["point"] == point:
                    size = own["sizeBytes"]
                for region in own["regions"]:
                    stacks.setdefault(region["region"], []).extend(region["layers"])
        check(size is not None, f"point {point} of {item} is not live, or has no disk {disk}")
        return size, stacks

    def restore(self, item, point, disk, output):
        size, stacks = self.stacks(item, point, disk)
        region_bytes = self.settings["regionBytes"]
        with open(output, "wb") as file:
            file.truncate(size)
            for region, stack in stacks.items():
                if region * region_bytes >= size:
                    continue
                for block, raw in self.region(item, disk, region, stack):
                    at = region * region_bytes + block * BLOCK
                    if at < size:
                        file.seek(at)
                        file.write(raw[: size - at])

    def region(self, item, disk, region, stack):
        """The stored blocks of the view above a stack, each with its bytes."""
        view = {}
        for entry in stack:
            name = f"v1/items/{item}/disks/{disk}/{entry['point']}/{region:06d}.{entry['attempt']}.layer"
            layer = Layer(name, self.blob(name))
            view.update({block: what and (layer, *what) for block, what in layer.blocks.items()})
        frames = {}
        for block in sorted(view):
            if view[block] is None:
                continue
            layer, number, slot, sha = view[block]
            key = (id(layer), number)
            if key not in frames:
                frames[key] = self.frame(layer, layer.frames[number])
            raw = frames[key][slot * BLOCK : (slot + 1) * BLOCK]
            check(hashlib.sha256(raw).digest() == sha, f"block {block} of region {region} fails its hash")
            yield block, raw

    def frame(self, layer, frame):
        pack, offset, stored_bytes, blocks, codec = frame
        name, total = layer.packs[pack]
        data = self.blob(name)
        check(len(data) == total, f"{name} has {len(data)} bytes, its layer says {total}")
        stored = data[offset : offset + stored_bytes]
        check(len(stored) == stored_bytes and codec in (0, 1), f"frame at {offset} of {name} cannot be read")
        raw = unzstd(stored, blocks * BLOCK) if codec == 1 else stored
        check(len(raw) == blocks * BLOCK, f"frame at {offset} of {name} has {len(raw)} bytes")
        return raw


def listing(vault):
    return {
        item: [
            {
                "point": manifest["point"],
                "time": manifest["time"],
                "disks": [{key: disk[key] for key in ("disk", "lun", "name", "sizeBytes")} for disk in manifest["disks"]],
            }
            for manifest in vault.manifests(item)
        ]
        for item in vault.items()
    }


def main(arguments):
    try:
        if len(arguments) == 1:
            print(json.dumps(listing(Vault(arguments[0])), indent=2))
        elif len(arguments) == 5:
            Vault(arguments[0]).restore(*arguments[1:])
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
