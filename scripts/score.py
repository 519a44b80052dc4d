#!/usr/bin/env python3
"""Score what mempath says of each sample against the true owner of each access.

    scripts/score.py TRUTH.csv[.gz] CLAIMS.csv[.gz] [--json]

CLAIMS has one row for each sample for which something is claimed, columns by name: n, part
(structure.field), base (hex address of the structure instance), slot, map (any stable name),
evidence; an empty cell claims nothing. `mempath export accesses --format csv` writes such a file.

A claim is right
  part  when structure and field are the true ones,
  slot  when besides that base and slot are,
  map   when the sample's true map is the one that most samples claimed under that name belong to.
precision = right / claimed; recall = right / samples truly in a map.

An overflow bucket counts as a bmap, a small map's group as a group. Samples of uncertain owner count
nowhere. Memory of a map before it is linked or after it is unlinked (building, alloc_zeroing, stale)
and sync.Map's own structures are optional: left out of recall, and a claim about one counts only when
it names another map (or several: the claim is then wrong as a whole).
"""

import collections
import csv
import gzip
import json
import sys

LEVELS = ("part", "slot", "map")
SYNC_MAP = {"syncmap", "readonly", "HashTrieMap", "hashtrie_indirect", "hashtrie_entry"}
SYNONYMS = {"bmap_overflow": "bmap", "bmap_prealloc_unused": "bmap", "small_group": "group"}

Owner = collections.namedtuple("Owner", "part base slot header optional")
NOBODY = Owner(None, None, None, None, False)


def table(path):
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
        yield from csv.DictReader(file)


def owner(row):
    if row["owner"] != "map":
        return NOBODY
    known_offset = row["off"] not in ("", "-1")
    return Owner(
        part=f"{SYNONYMS.get(row['structure'], row['structure'])}.{row['field']}",
        base=int(row["addr"], 16) - int(row["off"]) if known_offset else int(row["base"], 16),
        slot="" if row["slot"] == "-1" else row["slot"],
        header=row["header"],
        optional=row["state"] not in ("cur", "old") or row["structure"] in SYNC_MAP,
    )


def verdicts(claim, true, map_is):
    """{level: right?} for what one row claims."""
    out = {}
    if claim.get("map"):
        out["map"] = true.header is not None and map_is[claim["map"]] == true.header
    if true.optional and out.get("map", True):
        return {}
    if claim.get("part"):
        out["part"] = claim["part"] == true.part
        if claim.get("base"):
            out["slot"] = out["part"] and int(claim["base"], 16) == true.base and (claim.get("slot") or "") == true.slot
    return out


def score(truth_path, claims_path):
    truth = {int(r["n"]): owner(r) for r in table(truth_path) if r["owner"] != "uncertain"}
    uncertain = {int(r["n"]) for r in table(truth_path) if r["owner"] == "uncertain"}
    claims = {}
    for row in table(claims_path):
        n = int(row["n"])
        if n in uncertain:
            continue
        if n not in truth or n in claims:
            sys.exit(f"score.py: {claims_path}: sample {n} {'appears twice' if n in claims else 'is not in the truth set'}")
        claims[n] = row

    votes = collections.defaultdict(collections.Counter)
    for n, claim in claims.items():
        if claim.get("map"):
            votes[claim["map"]][truth[n].header] += 1
    map_is = {name: counter.most_common(1)[0][0] for name, counter in votes.items()}

    claimed, right = collections.Counter(), collections.Counter()
    by_evidence = collections.defaultdict(lambda: {level: [0, 0] for level in LEVELS})
    wrong = collections.Counter()
    for n, claim in claims.items():
        judged = verdicts(claim, truth[n], map_is)
        for level, ok in judged.items():
            claimed[level] += 1
            right[level] += ok
            tally = by_evidence[claim.get("evidence") or "-"][level]
            tally[0] += ok
            tally[1] += 1
        if judged.get("part") is False:
            wrong[truth[n].part or "no map", claim["part"]] += 1
    in_maps = [t for t in truth.values() if t.header is not None and not t.optional]
    return {
        "samples": len(truth),
        "in_maps": len(in_maps),
        "true_maps": len({t.header for t in in_maps}),
        "map_names": len(map_is),
        "levels": {
            level: {
                "claimed": claimed[level],
                "right": right[level],
                "precision": right[level] / claimed[level] if claimed[level] else None,
                "recall": right[level] / len(in_maps) if in_maps else None,
            }
            for level in LEVELS
        },
        "by_evidence": {name: levels for name, levels in sorted(by_evidence.items())},
        "wrong_parts": [[*pair, count] for pair, count in wrong.most_common()],
    }


def main():
    paths = [a for a in sys.argv[1:] if not a.startswith("--")]
    if len(paths) != 2:
        sys.exit(__doc__)
    result = score(*paths)
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    print(f"{result['samples']} samples, {result['in_maps']} in {result['true_maps']} maps; {result['map_names']} names of maps claimed")
    for level, v in result["levels"].items():
        share = {k: "-" if v[k] is None else f"{v[k]:.3%}" for k in ("precision", "recall")}
        print(f"  {level:5} precision {share['precision']:>8}  recall {share['recall']:>8}  ({v['right']} right of {v['claimed']} claimed)")
    for name, levels in result["by_evidence"].items():
        print(f"  evidence {name}: " + ", ".join(f"{level} {ok}/{of}" for level, (ok, of) in levels.items() if of))
    for true, said, count in result["wrong_parts"][:8]:
        print(f"  wrong {count} x: truly {true}, claimed {said}")


if __name__ == "__main__":
    main()
