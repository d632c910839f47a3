"""Medians, verdicts and Markdown from the samples of run_peers.py."""

import statistics

NOT_A_PEER = ("limits", "emdb", "emdb-ordered", "emdb-encrypted")

# id: (what, which of emdb's ways is judged, [(against, bar)]). A bar is "at least FACTOR times faster (smaller) than the best
# peer", or than one that is named; `limit` compares with the bare probe; `value` is emdb's own figure.
ROWS = {
    "bulk_load": ("bulk load", "emdb", [("best", 2.0)]),
    "load_sync": ("making it durable", "emdb", []),
    "durable_writes": ("1,000 durable writes", "emdb", [("limit", 1.10)]),
    "durable_batches": ("100 durable batches of 1,000", "emdb", [("best", 2.5)]),
    "unsynced_writes": ("50,000 writes without sync", "emdb", [("best", 2.0)]),
    "hits": ("random reads, hits", "emdb", [("kyotocabinet", 2.0), ("lmdb", 3.5)]),
    "hits_new_string": ("the same, a new string each", "emdb", []),
    "hits_batched": ("the same, 64 a call", "emdb", []),
    "misses": ("random reads, misses", "emdb", [("best", 2.5)]),
    "readers_1": ("1 thread", "emdb", []),
    "readers_2": ("2 threads", "emdb", []),
    "readers_4": ("4 threads", "emdb", []),
    "readers_8": ("8 threads", "emdb", [("best", 2.0)]),
    "scans_loaded": ("scans of 10, as loaded", "emdb-ordered", [("best", 1.5)]),
    "scans_compacted": ("scans of 10, after compaction", "emdb-ordered", [("best", 2.5)]),
    "removals": ("removal of half", "emdb", [("best", 2.0)]),
    "compaction": ("compaction", "emdb", [("best", 3.0), ("copy", 1.3)]),
    "copy_of_compacted": ("`cp` and `fdatasync` of its result", "emdb", []),
    "hits_compacted": ("hits after compaction, half as many", "emdb", []),
    "reopen_clean": ("reopen after a clean close, first read", "emdb", [("value", 5.0)]),
    "reopen_killed": ("reopen after a kill", "emdb", []),
    "found_after_kill": ("of 10,000 unsynced writes, there after a kill", "emdb", []),
    "size_loaded": ("size as loaded", "emdb", []),
    "size_before_compaction": ("size before compaction", "emdb", []),
    "size_after_compaction": ("size after compaction", "emdb", [("smallest", 1.03)]),
    "anonymous_loaded": ("anonymous memory, loaded", "emdb", [("value", 28e6, 120e6)]),
    "anonymous_max": ("the most at the end of a phase", "emdb", []),
    "anonymous_compacted": ("after compaction", "emdb", [("value", 28e6, 120e6)]),
    "anonymous_reopened": ("after reopening", "emdb", []),
    "peak_resident": ("peak resident, mapped files included", "emdb", []),
}


def summarise(samples):
    """{(workload, records): {"engines": {name: {"about", "figures": {id: {...}}}}, "verdicts": [...]}} with keys as text."""
    machines = [sample["machine"] for sample in samples if ";" in sample["machine"]]  # stores in Rust do not say
    report = {"machine": machines[-1] if machines else "", "workloads": {}}
    for sample in samples:
        workload = report["workloads"].setdefault(f"{sample['workload']} {sample['records']}", {"engines": {}})
        engine = workload["engines"].setdefault(
            sample["engine"], {"version": "", "about": "", "rounds": 0, "load_of_others": [], "figures": {}, "impossible": {}})
        engine["version"], engine["about"] = sample["version"], sample["about"]
        engine["rounds"] += 1
        engine["load_of_others"].append(float(sample["load_of_others"]))
        engine["impossible"].update(sample["impossible"])
        for name, figure in sample["figures"].items():
            engine["figures"].setdefault(name, []).append(figure)
    for key, workload in report["workloads"].items():
        for engine in workload["engines"].values():
            engine["figures"] = {name: medians(figures) for name, figures in engine["figures"].items()}
        if key.startswith("table "):
            workload["verdicts"] = verdicts(workload["engines"], int(key.split()[1]))
    return report


def medians(figures):
    result = {"unit": figures[0]["unit"], "samples": [figure["value"] for figure in figures]}
    for name in ("value", "processor_s", "p50_ns", "p99_ns", "p999_ns", "max_ns"):
        values = [figure[name] for figure in figures if name in figure]
        if values:
            result[name] = statistics.median(values)
    return result


def value_of(engines, engine, row):
    figure = engines.get(engine, {}).get("figures", {}).get(row)
    return None if figure is None else figure["value"]


def best_peer(engines, row):
    values = [(value_of(engines, name, row), name) for name in engines if name not in NOT_A_PEER]
    values = [pair for pair in values if pair[0] is not None]
    return min(values) if values else (None, None)


def verdicts(engines, records):
    result = []
    for row, (what, judged, bars) in ROWS.items():
        mine = value_of(engines, judged, row)
        if mine is None:
            continue
        outcomes = []
        for against, *factors in bars:
            factor = factors[-1] if records >= 5_000_000 else factors[0]
            outcome = judge(engines, row, mine, judged, against, factor)
            if outcome:
                outcomes.append(outcome)
        if not outcomes:
            continue
        # Compaction has a choice of bars.
        met = any(o["met"] for o in outcomes) if row == "compaction" else all(o["met"] for o in outcomes)
        result.append({"row": row, "what": what, "engine": judged, "value": mine, "outcomes": outcomes, "met": met})
    return result


def judge(engines, row, mine, judged, against, factor):
    if against == "value":
        return {"bar": f"≤ {number(factor, unit_of(engines, judged, row))}", "ratio": mine / factor, "met": mine <= factor}
    if against == "limit":
        other, name = value_of(engines, "limits", row), "bare limit"
    elif against == "copy":
        other, name = value_of(engines, judged, "copy_of_compacted"), "its copy"
    elif against in ("best", "smallest"):
        other, name = best_peer(engines, row)
    else:  # one store, however it is set
        values = [(value_of(engines, engine, row), engine) for engine in engines if engine.split("-")[0] == against]
        other, name = min((pair for pair in values if pair[0] is not None), default=(None, against))
    if other is None:
        return None
    if against in ("limit", "copy", "smallest"):
        return {"bar": f"≤ {factor} × {name}", "other": other, "ratio": mine / other, "met": mine <= factor * other}
    return {"bar": f"≥ {factor} × {name}", "other": other, "ratio": other / mine, "met": other >= factor * mine}


def unit_of(engines, engine, row):
    return engines[engine]["figures"][row]["unit"]


def number(value, unit):
    if value is None:
        return "–"
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB"
    if unit == "records":
        return f"{value:,.0f}"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {unit}"


def summary(report):
    """For a reader in a hurry: each row of the workload table, the bare limit, emdb, and the best three of the others."""
    lines = []
    for key, workload in report["workloads"].items():
        if not key.startswith("table "):
            continue
        engines = workload["engines"]
        judged = {verdict["row"]: verdict for verdict in workload["verdicts"]}
        lines += ["| what | bare limit | emdb | with range scans | the best of the others | bar | verdict |", "|---|---|---|---|---|---|---|"]
        for row, (what, _, _) in ROWS.items():
            if row in ("found_after_kill", "copy_of_compacted"):
                continue
            cells = []
            for name in ("limits", "emdb", "emdb-ordered"):
                figure = engines.get(name, {}).get("figures", {}).get(row)
                cells.append(number(figure["value"], figure["unit"]) if figure else "–")
            others = sorted((value_of(engines, name, row), name) for name in engines
                            if name not in NOT_A_PEER and value_of(engines, name, row) is not None)
            unit = next(engine["figures"][row]["unit"] for engine in engines.values() if row in engine["figures"])
            cells.append("; ".join(f"{name} {number(value, unit)}" for value, name in others[:3]) or "–")
            verdict = judged.get(row)
            if verdict:
                cells.append("; ".join(o["bar"] + f": {o['ratio']:.2f}" for o in verdict["outcomes"]))
                cells.append("met" if verdict["met"] else "**short**")
            else:
                cells += ["", ""]
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def markdown(report):
    lines = []
    for key, workload in report["workloads"].items():
        engines = workload["engines"]
        names = list(engines)
        rows = []
        for name in names:
            rows += [row for row in engines[name]["figures"] if row not in rows]
        if key.startswith("table "):
            rows = [row for row in ROWS if row in rows]
        rounds = min(engine["rounds"] for engine in engines.values())
        lines += [f"### {key.split()[0]}, {int(key.split()[1]):,} records, medians of {rounds} rounds", ""]
        lines += ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for row in rows:
            cells = []
            for name in names:
                figure = engines[name]["figures"].get(row)
                cells.append(number(figure["value"], figure["unit"]) if figure else "–")
            lines.append(f"| {ROWS.get(row, (row,))[0]} | " + " | ".join(cells) + " |")
        lines += ["", *latencies(engines, names)]
        if workload.get("verdicts"):
            lines += ["| bar | emdb | against | ratio | verdict |", "|---|---|---|---|---|"]
            for verdict in workload["verdicts"]:
                unit = unit_of(engines, verdict["engine"], verdict["row"])
                against = "; ".join(o["bar"] + (f" ({number(o['other'], unit)})" if "other" in o else "") for o in verdict["outcomes"])
                ratios = "; ".join(f"{o['ratio']:.2f}" for o in verdict["outcomes"])
                lines.append(f"| {verdict['what']} | {number(verdict['value'], unit)} | {against} | {ratios} | "
                             f"{'met' if verdict['met'] else '**short**'} |")
            lines.append("")
    return "\n".join(lines)


def latencies(engines, names):
    """Single calls: p50 / p99 / p99.9 / max."""
    rows = []
    for name in names:
        rows += [row for row, figure in engines[name]["figures"].items() if "p50_ns" in figure and row not in rows]
    if not rows:
        return []
    lines = ["| µs of single calls: p50 / p99 / p99.9 / max | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row in rows:
        cells = []
        for name in names:
            figure = engines[name]["figures"].get(row, {})
            parts = [figure.get(part) for part in ("p50_ns", "p99_ns", "p999_ns", "max_ns")]
            cells.append("–" if None in parts else " / ".join(f"{part / 1000:.3g}" for part in parts))
        lines.append(f"| {ROWS.get(row, (row.replace('_', ' '),))[0]} | " + " | ".join(cells) + " |")
    return [*lines, ""]
