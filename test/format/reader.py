#!/usr/bin/env python3
"""Reads a copy of a backup vault, format version 3. Written from docs/format.md alone; shares no code with Strata.

    reader.py CONTAINER                             lists items, points and disks as JSON
    reader.py CONTAINER ITEM POINT DISK OUTPUT      writes a disk to the file OUTPUT

CONTAINER is a folder with one file for each blob, by name. Needs Python 3.11 and libzstd. Checkpoints are not used.
"""

import ctypes
import hashlib
import json
import os
import re
import struct
import sys

BLOCK = 16_384
ITEM, DISK = "[a-z0-9][a-z0-9_.-]{0,79}", "[a-z0-9][a-z0-9-]{0,39}"
POINT, ATTEMPT, SHA256 = "[0-9]{17}", "[0-9a-f]{16}", "[0-9a-f]{64}"


class Refused(Exception):
    """An object of the vault is not as it must be."""


class Missing(Refused):
    """A blob is not there: damage only if the newest record stays what it is."""


def require(condition, where, what):
    if not condition:
        raise Refused(f"{where}: {what}")


def digest(name, *parts):
    return hashlib.sha256(b"".join([name.encode(), b"\n", *parts]))


# Blobs and documents (sections 2 and 3)


def read(name, offset=0, count=None):
    """`count` bytes of a blob from `offset` on, or all of it."""
    try:
        with open(os.path.join(container, name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            count = size if count is None else count
            require(offset + count <= size, name, f"has {size} bytes, {offset + count} are needed")
            file.seek(offset)
            return file.read(count)
    except (FileNotFoundError, NotADirectoryError):
        raise Missing(f"{name}: is missing") from None


def names(folder):
    path = os.path.join(container, folder)
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def read_document(name, *formats):
    """The value of a document, and its digest."""
    data = read(name)
    sha256 = digest(name, data[77:]).hexdigest()
    require(data[:77] == f'{{"sha256":"{sha256}",'.encode(), name, "does not begin with its digest")
    try:
        value = json.loads("{" + data[77:].decode())
    except (ValueError, RecursionError):
        raise Refused(f"{name}: is not JSON in UTF-8") from None
    found = integer(name, value, "format")
    require(found in formats, name, f"format {found} is not known (FormatUnsupported)")
    return value, sha256


def integer(where, value, key, least=0, most=2**53 - 1):
    found = value.get(key)
    require(type(found) is int and least <= found <= most, where, f"`{key}` is not an integer from {least} to {most}")
    return found


def string(where, value, key, form):
    found = value.get(key)
    require(isinstance(found, str) and re.fullmatch(form, found), where, f"`{key}` is not of the form {form}")
    return found


def array(where, value, key):
    found = value.get(key)
    require(isinstance(found, list) and all(isinstance(one, dict) for one in found), where, f"`{key}` is not an array of objects")
    return found


def read_region_bytes():
    name = "v1/vault.json"
    vault, _ = read_document(name, 1)
    integer(name, vault, "blockBytes", BLOCK, BLOCK)
    size = integer(name, vault, "regionBytes", BLOCK, 65_536 * BLOCK)
    require(size % BLOCK == 0, name, "`regionBytes` is not a multiple of the block")
    return size


def newest_seq(item):
    """The <seq> of the newest chain record; none if there is no such item."""
    records = [name for name in names(f"v1/items/{item}/chain") if re.fullmatch(r"[0-9]{12}\.json", name)]
    return records[-1][:12] if records else None


def read_points(item, seq):
    """The live points, in snapshot order: to each the name and the digest of its manifest."""
    name, points = f"v1/items/{item}/chain/{seq}.json", {}
    record, _ = read_document(name, 1)
    require(string(name, record, "item", ITEM) == item and integer(name, record, "seq") == int(seq), name, "is another record")
    for entry in array(name, record, "points"):
        point = string(name, entry, "point", POINT)
        require(point > next(reversed(points), ""), name, "`points` do not ascend")
        manifest = string(name, entry, "manifest", rf"v1/items/{re.escape(item)}/points/{point}\.{ATTEMPT}\.json")
        points[point] = manifest, string(name, entry, "sha256", SHA256)
    return points


def read_disks(name, named_sha256):
    """The disks that a manifest has: to each id its entry, with `begins`, by region `layers`, and `parts`."""
    manifest, sha256 = read_document(name, 1, 2, 3)
    require(sha256 == named_sha256, name, "does not have the digest that the chain record says")
    item, point, attempt = (string(name, manifest, *part) for part in (("item", ITEM), ("point", POINT), ("attempt", ATTEMPT)))
    require(name == f"v1/items/{item}/points/{point}.{attempt}.json", name, "is another manifest")
    disks = {}
    for entry in array(name, manifest, "disks"):
        disk, size, format = string(name, entry, "disk", DISK), integer(name, entry, "sizeBytes"), manifest["format"]
        require(disk not in disks and size % 512 == 0, name, f"disk {disk} is there twice, or not a multiple of 512 bytes")
        begins = string(name, entry, "begins", POINT) if format >= 2 and "begins" in entry else ""
        require(begins <= point, name, "`begins` is later than the point")
        layers, parts = read_regions(name, entry, format), read_part_names(name, entry, item, point, disk) if format == 3 else []
        require(not (layers and parts), name, f"disk {disk} has both `regions` and `parts`")
        disks[disk] = {"lun": integer(name, entry, "lun", -1), "sizeBytes": size, "begins": begins, "layers": layers, "parts": parts}
    return disks


def read_regions(where, value, format):
    """To each region of `regions` its layers."""
    layers = {}
    for group in array(where, value, "regions"):
        region = integer(where, group, "region")
        require(region > next(reversed(layers), -1), where, "`regions` do not ascend")
        layers[region] = [read_layer_entry(where, layer, format) for layer in array(where, group, "layers")]
        require(layers[region], where, f"region {region} has no layers")
    return layers


def read_part_names(where, entry, item, point, disk):
    """Of each part of a manifest the name, the digest, the first and the last region."""
    parts = []
    for part in array(where, entry, "parts") if "parts" in entry else []:
        first = integer(where, part, "first", parts[-1][3] + 1 if parts else 0)
        name = rf"v1/items/{re.escape(item)}/points/{point}\.{ATTEMPT}\.{disk}\.{first:06}\.json"
        parts.append((string(where, part, "name", name), string(where, part, "sha256", SHA256), first, integer(where, part, "last", first)))
    return parts


def read_part(part, *owner):
    """To each region of a part its layers. `owner` are its item, point and disk."""
    name, named_sha256, first, last = part
    value, sha256 = read_document(name, 3)
    require(sha256 == named_sha256, name, "does not have the digest that its manifest says")
    found = tuple(string(name, value, *one) for one in (("item", ITEM), ("point", POINT), ("disk", DISK)))
    layers = read_regions(name, value, 3)
    require(found == owner and [*layers][:1] == [first] and [*layers][-1:] == [last], name, "is not the part that its manifest says")
    return layers


def read_layer_entry(where, layer, format):
    """Point, attempt, and of the slab number, offset and bytes, or None."""
    place = None
    if format >= 2 and "slab" in layer:
        require(isinstance(layer["slab"], dict), where, "`slab` is not an object")
        place = tuple(integer(where, layer["slab"], key) for key in ("number", "offset", "bytes"))
    return string(where, layer, "point", POINT), string(where, layer, "attempt", ATTEMPT), place


# Layers and frames (sections 4 to 6)


def check_header(where, data, magic):
    require(data[:8] == magic, where, f"does not begin with {magic.decode()}")
    version = int.from_bytes(data[8:10], "little")
    require(version == 1, where, f"version {version} is not known (FormatUnsupported)")


def decompress(where, data, size):
    zstd, output = ctypes.CDLL("libzstd.so.1"), ctypes.create_string_buffer(size)
    zstd.ZSTD_decompress.restype, zstd.ZSTD_getErrorName.restype = ctypes.c_size_t, ctypes.c_char_p
    result = zstd.ZSTD_decompress(output, ctypes.c_size_t(size), data, ctypes.c_size_t(len(data)))
    if zstd.ZSTD_isError(ctypes.c_size_t(result)):
        raise Refused(f"{where}: zstd: {zstd.ZSTD_getErrorName(ctypes.c_size_t(result)).decode()}")
    require(result == size, where, f"gives {result} bytes, not {size}")
    return output.raw


class Map:
    """The decompressed map of a layer, of which column after column is taken."""

    def __init__(self, where, data):
        self.where, self.data = where, memoryview(data)

    def cut(self, size):
        require(size <= len(self.data), self.where, "its map is too short")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def take(self, kinds, count):
        return zip(*[struct.unpack(f"<{count}{kind}", self.cut(count * struct.calcsize("<" + kind))) for kind in kinds])

    def number(self, kind="I"):
        return next(self.take(kind, 1))[0]

    def text(self):
        return bytes(self.cut(self.number("H"))).decode(errors="replace")


def read_layer(folder, region, blocks, point, attempt, place):
    """The extents as (start, count, frame or None, slot, index of the first hash), and the hash column."""
    name = where = f"{folder}/{point}/{region:06}.{attempt}.layer"
    pack_form, trailer = rf"{re.escape(folder)}/{POINT}/{region:06}\.{ATTEMPT}\.[0-9a-f]{{8}}\.(0|[1-9][0-9]*)\.pack", 48
    if place:
        slab = f"{folder}/{point}/{place[0]:06}.{attempt}.slab"
        where, pack_form, trailer = f"{slab}: layer of region {region}", re.escape(slab), 0
    data = read(slab, *place[1:]) if place else read(name)
    require(len(data) >= 96, where, "is shorter than its header")
    check_header(where, data, b"STRATALY")
    reserved, map_bytes, raw_bytes, stored, reserved_too, hashes_sha256, map_sha256 = struct.unpack_from("<HIIIQ32s32s", data, 10)
    packed, hashes = data[96 : 96 + map_bytes], data[96 + map_bytes :]
    require(digest(name, data[:64], packed).digest() == map_sha256, where, "its header or map does not have the digest")
    require(digest(name, hashes).digest() == hashes_sha256, where, "its hash column does not have the digest")
    require(len(data) == 96 + map_bytes + 32 * stored, where, "does not have the size that its header says")
    require(reserved == reserved_too == 0 and raw_bytes <= 16_777_216, where, "a reserved byte is not 0, or the map too large")

    columns = Map(where, decompress(f"{where}: map", packed, raw_bytes))
    packs = [(columns.text(), columns.number() - trailer) for _ in range(columns.number())]
    for pack, _ in packs:
        require(re.fullmatch(pack_form, pack), where, f"names {pack!a:.200}, which cannot be a pack of it")
    require(not place or len(packs) <= 1, where, "names more than one pack")
    frames = []
    for pack, offset, size, count, codec in columns.take("IIIHB", columns.number()):
        require(pack < len(packs) and 16 <= offset and offset + size <= packs[pack][1], where, "a frame lies outside its pack")
        require(1 <= count <= 256 and codec <= 1, where, f"a frame has {count} blocks, or codec {codec}, which is not known")
        frames.append((packs[pack][0], offset, size, count, codec))
    extents, end, hashed = [], 0, 0
    for gap, count, index, slot in columns.take("IIIH", columns.number()):
        start, end = end + gap, end + gap + count
        require(count >= 1 and end <= blocks, where, "an extent is empty or leaves its region")
        require(index <= len(frames), where, "an extent lies in no frame")
        frame = frames[index - 1] if index else None
        require(slot + count <= frame[3] if frame else slot == 0, where, "an extent leaves its frame")
        extents.append((start, count, frame, slot, hashed))
        hashed += count if frame else 0
    require(hashed == stored and not columns.data, where, "its map goes on after its end, or does not fit the hash column")
    return extents, hashes


def read_frame(where, blob, offset, size, count, codec):
    if blob.endswith(".pack"):  # a restore does not read the header of a slab
        check_header(blob, read(blob, 0, 16), b"STRATAPK")
    data = read(blob, offset, size)
    raw = decompress(where, data, count * BLOCK) if codec == 1 else data
    require(len(raw) == count * BLOCK, where, f"gives {len(raw)} bytes, not {count * BLOCK}")
    return raw


# Recovery points (section 7)


def read_view(folder, region, blocks, past, stack):
    """The stored blocks that are seen, each with its number, of those below `past`, where the disk ends."""
    seen = bytearray(blocks)
    for layer in reversed(stack):
        extents, hashes = read_layer(folder, region, blocks, *layer)
        picks = {}
        for start, count, frame, slot, hashed in extents:
            fresh = [k for k in range(count) if not seen[start + k] and start + k < past]
            if frame and fresh:
                picks.setdefault(frame, []).extend((start + k, slot + k, hashed + k) for k in fresh)
            seen[start : start + count] = b"\1" * count
        for frame, wanted in picks.items():
            where = f"{frame[0]}: frame at {frame[1]}"
            raw = read_frame(where, *frame)
            for block, slot, hashed in wanted:
                data = raw[slot * BLOCK : (slot + 1) * BLOCK]
                right = hashlib.sha256(data).digest() == hashes[hashed * 32 : (hashed + 1) * 32]
                require(right, where, f"block {block} of region {region} does not have its hash")
                yield block, data


def write_disk(region_bytes, item, points, point, disk, file):
    require(point in points, f"v1/items/{item}", f"has no live point {point!a}")
    wanted = read_disks(*points[point]).get(disk)
    require(wanted, points[point][0], f"has no disk {disk!a}")
    stacks, size, folder = {}, wanted["sizeBytes"], f"v1/items/{item}/disks/{disk}"
    for earlier in points:
        if wanted["begins"] <= earlier <= point:
            entry = read_disks(*points[earlier]).get(disk, {"layers": {}, "parts": []})
            for own in (entry["layers"], *(read_part(part, item, earlier, disk) for part in entry["parts"])):
                for region, layers in own.items():
                    stacks.setdefault(region, []).extend(layers)
    file.truncate(0)
    file.truncate(size)
    for region, stack in stacks.items():
        left = size - region * region_bytes  # of the disk, from the start of the region on
        if left > 0:
            for block, data in read_view(folder, region, region_bytes // BLOCK, -(-left // BLOCK), stack):
                file.seek(region * region_bytes + block * BLOCK)
                file.write(data[: left - block * BLOCK])


def list_points(points):
    def list_disks(name, sha256):
        return [{"disk": disk, "lun": entry["lun"], "sizeBytes": entry["sizeBytes"]} for disk, entry in read_disks(name, sha256).items()]

    return [{"point": point, "disks": list_disks(*manifest)} for point, manifest in points.items()]


def with_newest(item, action):
    """What `action` makes of the live points of the newest record; again, where a blob is missing and a newer record is there."""
    seq = newest_seq(item) if re.fullmatch(ITEM, item) else None
    require(seq, f"item {item!a}", "does not exist: it has no chain record")
    while True:
        try:
            return action(read_points(item, seq))
        except Missing:
            before, seq = seq, newest_seq(item)
            if seq == before:
                raise


def list_vault():
    items = [item for item in names("v1/items") if re.fullmatch(ITEM, item) and newest_seq(item)]
    print(json.dumps({item: with_newest(item, list_points) for item in items}, indent=2))


def restore(region_bytes, item, point, disk, output):
    partial = f"{output}.partial"  # so that what is left of a refused disk is not taken for the disk
    try:
        with open(partial, "wb") as file:
            with_newest(item, lambda points: write_disk(region_bytes, item, points, point, disk, file))
        os.replace(partial, output)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 6):
        print("usage: reader.py CONTAINER [ITEM POINT DISK OUTPUT]", file=sys.stderr)
        sys.exit(2)
    container = sys.argv[1]
    try:
        region_size = read_region_bytes()
        list_vault() if len(sys.argv) == 2 else restore(region_size, *sys.argv[2:])
    except (Refused, OSError) as error:
        print("refused:", *str(error).split(), file=sys.stderr)
        sys.exit(1)
