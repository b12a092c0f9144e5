#!/usr/bin/env python3
"""Reads a copy of a backup vault, format version 2. Written from docs/format.md alone; shares no code with Strata.

    reader.py CONTAINER                             lists items, points and disks as JSON
    reader.py CONTAINER ITEM POINT DISK OUTPUT      writes a disk to the file OUTPUT

CONTAINER is a folder with one file for each blob, by name. Needs Python 3.11 and libzstd. Checkpoints are not used.
"""

import ctypes
import functools
import hashlib
import json
import os
import re
import struct
import sys
from typing import NamedTuple

BLOCK = 16_384
MOST_BLOCKS = 65_536  # of a region
MOST_MAP_BYTES = 16_777_216
ITEM, DISK = "[a-z0-9][a-z0-9_.-]{0,79}", "[a-z0-9][a-z0-9-]{0,39}"
POINT, ATTEMPT, SHA256 = "[0-9]{17}", "[0-9a-f]{16}", "[0-9a-f]{64}"


class Refused(Exception):
    """An object of the vault is not as it must be."""


class Missing(Refused):
    """A blob is not there. Damage only if the newest record stays what it is."""


def require(condition, where, what):
    if not condition:
        raise Refused(f"{where}: {what}")


def digest(name, *parts):
    return hashlib.sha256(b"".join([name.encode(), b"\n", *parts]))


# Blobs


class Container:
    def __init__(self, root):
        self.root = root

    def read(self, name, offset=0, count=None):
        """`count` bytes from `offset` on, or the whole blob."""
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                count = size if count is None else count
                require(offset + count <= size, name, f"is {size} bytes, {offset + count} are needed")
                file.seek(offset)
                data = file.read(count)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"{name}: is missing") from None
        except OSError as error:
            raise Refused(f"{name}: cannot be read: {error.strerror}") from None
        require(len(data) == count, name, "became shorter while it was read")
        return data

    def names(self, folder):
        try:
            return sorted(os.listdir(os.path.join(self.root, folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []


# Documents


def read_document(container, name, formats=(1,)):
    """The value of a document, and its digest."""
    data = container.read(name)
    require(data[:11] == b'{"sha256":"' and data[75:77] == b'",', name, "does not begin with its digest")
    sha256 = digest(name, data[77:]).hexdigest()
    require(data[11:75] == sha256.encode(), name, "does not have the digest that it carries")
    try:
        value = json.loads("{" + data[77:].decode())
    except (ValueError, RecursionError):
        raise Refused(f"{name}: is not JSON in UTF-8") from None
    require(integer(name, value, "format") in formats, name, f"format {value['format']} is not known (FormatUnsupported)")
    return value, sha256


def integer(where, value, key, least=0, most=2**53 - 1):
    number = value.get(key)
    require(type(number) is int and least <= number <= most, where, f"`{key}` is not an integer from {least} to {most}")
    return number


def string(where, value, key, pattern):
    text = value.get(key)
    require(isinstance(text, str) and re.fullmatch(pattern, text), where, f"`{key}` is not of the form {pattern}")
    return text


def array(where, value, key):
    entries = value.get(key)
    require(isinstance(entries, list) and all(isinstance(one, dict) for one in entries), where, f"`{key}` is not an array of objects")
    return entries


def require_ascending(where, what, keys):
    require(all(a < b for a, b in zip(keys, keys[1:])), where, f"{what} do not ascend")


def read_region_bytes(container):
    name = "v1/vault.json"
    vault, _ = read_document(container, name)
    integer(name, vault, "blockBytes", BLOCK, BLOCK)
    region_bytes = integer(name, vault, "regionBytes", BLOCK, BLOCK * MOST_BLOCKS)
    require(region_bytes % BLOCK == 0, name, "`regionBytes` is not a multiple of the block")
    return region_bytes


def newest_record(container, item):
    """The name of the newest chain record, or None."""
    folder = f"v1/items/{item}/chain"
    records = [name for name in container.names(folder) if re.fullmatch(r"[0-9]{12}\.json", name)]
    return f"{folder}/{records[-1]}" if records else None


def read_points(container, name):
    """The live points of a record: from each point to the name and digest of its manifest, in snapshot order."""
    record, _ = read_document(container, name)
    _, _, item, _, file = name.split("/")
    require(record.get("item") == item and integer(name, record, "seq") == int(file[:12]), name, "is a record of another name")
    points = {}
    for entry in array(name, record, "points"):
        point = string(name, entry, "point", POINT)
        manifest = string(name, entry, "manifest", rf"v1/items/{re.escape(item)}/points/{point}\.{ATTEMPT}\.json")
        require(point > max(points, default=""), name, "`points` do not ascend")
        points[point] = manifest, string(name, entry, "sha256", SHA256)
    return points


def read_disks(container, points, point):
    """The disks of a point: from each id to its entry in the manifest, which gets `begins` where it has none."""
    name, named_sha256 = points[point]
    manifest, sha256 = read_document(container, name, (1, 2))
    require(sha256 == named_sha256, name, "does not have the digest that the chain record says")
    own = "v1/items/{item}/points/{point}.{attempt}.json".format_map({"item": "", "point": "", "attempt": "", **manifest})
    require(own == name, name, "is a manifest of another name")
    disks = {}
    for entry in array(name, manifest, "disks"):
        disk = string(name, entry, "disk", DISK)
        require(disk not in disks, name, f"has disk {disk} twice")
        integer(name, entry, "lun", -1)
        require(integer(name, entry, "sizeBytes") % 512 == 0, name, "`sizeBytes` is not a multiple of 512")
        regions = array(name, entry, "regions")
        require_ascending(name, "`regions`", [integer(name, region, "region") for region in regions])
        if manifest["format"] == 1 or "begins" not in entry:
            entry["begins"] = ""
        else:
            require(string(name, entry, "begins", POINT) <= point, name, "`begins` is later than the point")
        entry["layers"] = {region["region"]: read_layer_names(name, region, manifest["format"]) for region in regions}
        disks[disk] = entry
    return disks


class LayerName(NamedTuple):
    point: str
    attempt: str
    slab: tuple[int, int, int] | None  # number, offset, bytes


def read_layer_names(where, region, format):
    layers = []
    for entry in array(where, region, "layers"):
        slab = entry.get("slab") if format > 1 and "slab" in entry else None
        if format > 1 and "slab" in entry:
            require(isinstance(slab, dict), where, "`slab` is not an object")
            slab = tuple(integer(where, slab, key) for key in ("number", "offset", "bytes"))
        layers.append(LayerName(string(where, entry, "point", POINT), string(where, entry, "attempt", ATTEMPT), slab))
    require(layers, where, f"region {region['region']} has no layers")
    return layers


# Layers and frames


@functools.cache
def zstd():
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_isError.argtypes = library.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library


def decompress(where, data, size):
    output = ctypes.create_string_buffer(size)
    result = zstd().ZSTD_decompress(output, size, data, len(data))
    if zstd().ZSTD_isError(result):
        raise Refused(f"{where}: zstd: {zstd().ZSTD_getErrorName(result).decode()}")
    require(result == size, where, f"gives {result} bytes, not {size}")
    return output.raw


def check_header(where, data, magic):
    require(data[:8] == magic, where, f"does not begin with {magic.decode()}")
    (version,) = struct.unpack_from("<H", data, 8)
    require(version == 1, where, f"version {version} is not known (FormatUnsupported)")


class Columns:
    """Reads the columns of a map, one after another."""

    def __init__(self, where, data):
        self.where, self.data, self.at = where, data, 0

    def take(self, size):
        require(self.at + size <= len(self.data), self.where, "the map is too short")
        self.at += size
        return self.data[self.at - size : self.at]

    def column(self, kind, count):
        return struct.unpack(f"<{count}{kind}", self.take(count * struct.calcsize(f"<{kind}")))

    def number(self, kind="I"):
        return self.column(kind, 1)[0]

    def text(self):
        try:
            return self.take(self.number("H")).decode()
        except UnicodeDecodeError:
            raise Refused(f"{self.where}: the map has text that is not UTF-8") from None


class Frame(NamedTuple):
    blob: str
    offset: int
    bytes: int
    blocks: int
    codec: int


class Extent(NamedTuple):
    start: int
    count: int
    frame: Frame | None  # None: cleared
    slot: int
    hash: int  # index of the first block's hash


def read_layer(container, folder, region, region_blocks, layer):
    """The extents of a layer, and its hash column."""
    name = where = f"{folder}/{layer.point}/{region:06}.{layer.attempt}.layer"
    slab = None
    if layer.slab:
        number, offset, size = layer.slab
        slab = f"{folder}/{layer.point}/{number:06}.{layer.attempt}.slab"
        where = f"{slab}: layer of region {region}"
        data = container.read(slab, offset, size)
    else:
        data = container.read(name)
    require(len(data) >= 96, where, "is shorter than a header")
    check_header(where, data, b"STRATALY")
    reserved_1, map_bytes, raw_bytes, stored, reserved_2, hashes_sha256, map_sha256 = struct.unpack_from("<HIIIQ32s32s", data, 10)
    packed, hashes = data[96 : 96 + map_bytes], data[96 + map_bytes :]
    require(digest(name, data[:64], packed).digest() == map_sha256, where, "header or map do not have the digest")
    require(digest(name, hashes).digest() == hashes_sha256, where, "the hash column does not have the digest")
    require(len(data) == 96 + map_bytes + 32 * stored, where, "its size is not what its header says")
    require(reserved_1 == reserved_2 == 0, where, "a reserved byte is not 0")
    require(raw_bytes <= MOST_MAP_BYTES, where, "the map is too large")
    columns = Columns(where, decompress(f"{where}: map", packed, raw_bytes))
    frames = read_frame_columns(columns, rf"{re.escape(folder)}/{POINT}/{region:06}\.{ATTEMPT}\.[0-9a-f]{{8}}\.(0|[1-9][0-9]*)\.pack", slab)
    extents = read_extent_columns(columns, frames, region_blocks)
    require(columns.at == raw_bytes, where, "the map goes on after its end")
    require(sum(extent.count for extent in extents if extent.frame) == stored, where, "its extents do not have as many blocks as hashes")
    return extents, hashes


def read_frame_columns(columns, pack_name, slab):
    packs = []
    for _ in range(columns.number()):
        blob, end = columns.text(), columns.number()
        known = blob == slab if slab else re.fullmatch(pack_name, blob)
        require(known, columns.where, f"names a pack that it cannot have: {blob!a:.200}")
        packs.append((blob, end if slab else end - 48))
    require(len(packs) <= 1 or not slab, columns.where, "names more than one pack")
    count = columns.number()
    frames = []
    for pack, offset, size, blocks, codec in zip(*(columns.column(kind, count) for kind in "IIIHB")):
        require(pack < len(packs), columns.where, "a frame lies in no pack")
        blob, end = packs[pack]
        require(16 <= offset and offset + size <= end, columns.where, "a frame lies outside its pack")
        require(1 <= blocks <= 256, columns.where, f"a frame has {blocks} blocks")
        require(codec <= 1, columns.where, f"codec {codec} is not known")
        frames.append(Frame(blob, offset, size, blocks, codec))
    return frames


def read_extent_columns(columns, frames, region_blocks):
    count_of_extents = columns.number()
    extents, end, hashes = [], 0, 0
    for gap, count, index, slot in zip(*(columns.column(kind, count_of_extents) for kind in "IIIH")):
        start, end = end + gap, end + gap + count
        require(count >= 1 and end <= region_blocks, columns.where, "an extent is empty or leaves its region")
        require(index <= len(frames), columns.where, "an extent lies in no frame")
        frame = frames[index - 1] if index else None
        require(slot + count <= frame.blocks if frame else slot == 0, columns.where, "an extent leaves its frame")
        extents.append(Extent(start, count, frame, slot, hashes))
        hashes += count if frame else 0
    return extents


def read_frame(container, frame):
    where, size = f"{frame.blob}: frame at {frame.offset}", frame.blocks * BLOCK
    if frame.blob.endswith(".pack"):  # of a slab a restore does not read the header
        check_header(frame.blob, container.read(frame.blob, 0, 16), b"STRATAPK")
    data = container.read(frame.blob, frame.offset, frame.bytes)
    if frame.codec == 1:
        return decompress(where, data, size)
    require(len(data) == size, where, f"gives {len(data)} bytes, not {size}")
    return data


# Recovery points


def list_points(container, points):
    def brief(entry):
        return {key: entry[key] for key in ("disk", "lun", "sizeBytes")}

    return [{"point": point, "disks": [brief(entry) for entry in read_disks(container, points, point).values()]} for point in points]


def write_disk(container, item, point, disk, region_bytes, points, file):
    require(point in points, item, f"has no live point {point!a}")
    wanted = read_disks(container, points, point).get(disk)
    require(wanted, points[point][0], f"has no disk {disk!a}")
    stacks = {}
    for earlier in points:
        if wanted["begins"] <= earlier <= point:
            entry = read_disks(container, points, earlier).get(disk)
            for region, layers in entry["layers"].items() if entry else ():
                stacks.setdefault(region, []).extend(layers)
    size, folder = wanted["sizeBytes"], f"v1/items/{item}/disks/{disk}"
    file.truncate(0)
    file.truncate(size)
    for region in sorted(stacks):
        if region * region_bytes < size:
            for block, data in read_view(container, folder, region, region_bytes, size, stacks[region]):
                position = region * region_bytes + block * BLOCK
                file.seek(position)
                file.write(data[: size - position])


def read_view(container, folder, region, region_bytes, size, stack):
    """The stored blocks that are seen, each with its number, apart from those past the end of the disk."""
    seen = bytearray(region_bytes // BLOCK)
    for layer in reversed(stack):
        extents, hashes = read_layer(container, folder, region, len(seen), layer)
        picks = {}
        for extent in extents:
            for k in range(extent.count):
                block = extent.start + k
                if extent.frame and not seen[block] and region * region_bytes + block * BLOCK < size:
                    picks.setdefault(extent.frame, []).append((block, extent.slot + k, extent.hash + k))
                seen[block] = True
        for frame, blocks in picks.items():
            raw = read_frame(container, frame)
            for block, slot, index in blocks:
                data = raw[slot * BLOCK : (slot + 1) * BLOCK]
                right = hashlib.sha256(data).digest() == hashes[index * 32 : (index + 1) * 32]
                require(right, f"{frame.blob}: frame at {frame.offset}", f"block {block} of region {region} does not have its hash")
                yield block, data


def with_newest_record(container, item, action):
    """What `action` makes of the live points. If a blob is missing and there is a newer record meanwhile, once more with that."""
    name = newest_record(container, item)
    require(name, f"v1/items/{item}", "has no chain record, so there is no such item")
    while True:
        try:
            return action(read_points(container, name))
        except Missing:
            before, name = name, newest_record(container, item)
            if name == before:
                raise


def list_vault(container):
    read_region_bytes(container)
    items = [item for item in container.names("v1/items") if re.fullmatch(ITEM, item) and newest_record(container, item)]
    listed = {item: with_newest_record(container, item, lambda points: list_points(container, points)) for item in items}
    print(json.dumps(listed, indent=2))


def restore(container, item, point, disk, output):
    region_bytes = read_region_bytes(container)
    require(re.fullmatch(ITEM, item), f"{item!a}", "cannot be an item")
    partial = f"{output}.partial"  # so that a refused disk is never taken for a whole one
    try:
        with open(partial, "wb") as file:
            with_newest_record(container, item, lambda points: write_disk(container, item, point, disk, region_bytes, points, file))
        os.replace(partial, output)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def main(arguments):
    if len(arguments) not in (1, 5):
        print("usage: reader.py CONTAINER [ITEM POINT DISK OUTPUT]", file=sys.stderr)
        return 2
    container = Container(arguments[0])
    try:
        restore(container, *arguments[1:]) if len(arguments) == 5 else list_vault(container)
    except (Refused, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
