"""The small changes that mutants.py makes to src/, by regular expressions over single lines.

    comparison   < for <=, != for == and the like
    guard        a check that never fires
    unchecked    an error that is not looked at
    statement    a statement that is left out
    off by one   a 0 that was a 1
    and, or      one for the other
    sync         a sync or flush that is not made, and says it was
    check        a checksum, a MAC or a tag that is right whatever it is
    wait         what threads owe each other is left out: a wait, a wake-up, a lock, the second look at a sequence number

Not among them by rule, because nothing that a user can observe changes: prefetching, reserving, hints, advice to the system; what the
compiler evaluates; spinning instead of sleeping (whoever calls wait_for_change() looks again). Memory orders are not, either: the
models of tests/races weaken each of them.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = ["engine", "journal", "index", "checks"]

# Of how many mutants each kind is one.
KINDS = {"comparison": 24, "guard": 14, "unchecked": 8, "statement": 16, "off by one": 8, "and, or": 6, "sync": 8, "check": 8, "wait": 8}

SWITCH = "emdb_mutants::on"
OFF = f"!{SWITCH}({{n}})"
ON = f"{SWITCH}({{n}})"
OPERAND = r"!?[A-Za-z_][\w:]*(?:(?:->|\.)\w+|\([^()]*\)|\[[^\[\]]*\])*|\d+"
COMPARISON = re.compile(rf"(?:\(|\breturn |&& |\|\| | = )(?P<all>({OPERAND}) (<=?|>=?|[!=]=) ({OPERAND}))(?=\)|;| &&| \|\| | \?)")
GUARD = re.compile(r"^(\s+(?:\} else )?if \()((?!auto |const ).*)(\)(?: \[\[\w+\]\])? (?:return|continue|break)\b.*;.*)$")
UNCHECKED = re.compile(r"^(\s+if \((?:const )?auto (\w+) = .*; !\2)(\)(?: \[\[\w+\]\])? return .*;.*)$")
STATEMENT = re.compile(r"^(\s+)((?!return\b|throw\b|if\b|for\b|while\b|switch\b|delete\b|static_assert\b|sizeof\b)"
                       r"[\w.:>\[\]()*-]+(?<!-)\(.*\);)$")
ASSIGNMENT = re.compile(r"^(\s+)([\w.\[\]>-]+ (?:[-+|&^]?)= .*;)$")
ONE = re.compile(r"( [+-] )1(?=[;,)\] ])")
AND_OR = re.compile(r"^(\s+(?:if|while) \()([^;&|]+) (&&|\|\|) ([^;&|]+)(\)(?: \[\[\w+\]\])?(?: \{| return.*;| continue;| break;))$")
OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
IRRELEVANT = re.compile(r"prefetch|reserve\(|lock\b|lock_|memory_order|wake_|wait_for_change|constexpr|consteval|static_assert|advise|hint|"
                        r"expect_reading|yield\(|\bEMDB_")

# Calls, with what they are made on: the parentheses may hold two more levels.
ARGUMENTS = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
OBJECT = r"(?:[A-Za-z_]\w*(?:\([^()]*\))?(?:->|\.))*"
BEHIND = r"(?:(?<== )|(?<=return )|(?<=[?:] ))"
SYNC = re.compile(rf"{BEHIND}{OBJECT}(?:sync|sync_file|sync_directory_of|flush){ARGUMENTS}(?=;| :)")
CHECK_CALL = re.compile(rf"(?<=[ (!]){OBJECT}(?:validates|frame_validates|equal_in_constant_time|"
                        rf"(?:sealer_?|seal_|unwrapping|aead)(?:->|\.)open){ARGUMENTS}(?=[;)]| &&| \|\|| \?)")
SIDE = rf"(?:[\w:.>\[\]]|-(?=>)|<std::uint32_t>|{ARGUMENTS}| [+-] )+"
CHECKSUM = re.compile(rf"(?:\(|\breturn |&& |\|\| )(?P<all>{SIDE} ([!=])= {SIDE})(?=\)|;| &&| \|\| | \?)")
AGAIN = re.compile(r"(?:(?<=\()|(?<=return ))(?P<all>(?:[\w.>-]*(?:sequence|root_|retirements_)\.load\([^()]*\)|\(now & 1\)) "
                   r"([!=])= (?!nullptr)[\w.]+)(?=\)| \?)")
MUST_WAIT = re.compile(rf"(?:(?<=[(!])|(?<=&& )){OBJECT}(?:wait_for_turn|nobody_under|process_barrier|try_lock){ARGUMENTS}(?=[);]| [&|])"
                       r"|(?<=\()(?:!syncing_|retired\.epoch \+ 2 <= epoch)(?=\))")
WAKE = re.compile(rf"\b[\w.]*(?:wake_waiters|notify_one|notify_all|\.join|\.wait){ARGUMENTS}(?=;)")
LOCK = re.compile(r"^\s+((?:const std::lock_guard|std::unique_lock(?=.*stripe)) (\w+)\(((?!.*adopt_lock)[\w.>()-]+(?:, [\w.()]+)*)\);)$")


class Mutant:
    """One change: what of the line becomes what, with {n} where the number of its switch goes."""

    def __init__(self, kind, name, number, line, change, what):
        self.kind, self.name, self.number, self.line, self.change, self.what = kind, name, number, line, change, what
        self.which = 1

    @property
    def place(self):
        return f"src/{self.name}:{self.number}"

    @property
    def key(self):
        """Names it without its line's number, which changes with what is above."""
        which = f" [{self.which}]" if self.which > 1 else ""
        return f"src/{self.name}  {self.kind}: {self.what}{which}"


def balanced(text):
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0


def ordinary(line, begins):
    """(kind, begin, end, what it becomes, description) of the kinds that any program has. `begins`: a statement begins with the line."""
    for match in COMPARISON.finditer(line):
        _, left, operator, right = match.groups()
        other = OTHER[operator]
        yield ("comparison", *match.span("all"), f"({ON} ? ({left} {other} {right}) : ({left} {operator} {right}))",
               f"{left} {other} {right} for {operator}")
    match = GUARD.match(line)
    if match and balanced(match.group(2)) and ";" not in match.group(2):
        yield "guard", *match.span(2), f"{OFF} && ({match.group(2)})", f"never: if ({match.group(2)})"
    match = UNCHECKED.match(line)
    if match:
        yield "unchecked", match.end(1), match.end(1), f" && {OFF}", f"goes on in spite of an error: {line.strip()}"
    for pattern in (STATEMENT, ASSIGNMENT) if begins else ():
        match = pattern.match(line)
        if match and balanced(match.group(2)):
            yield "statement", *match.span(2), f"if ({OFF}) {{ {match.group(2)} }}", f"left out: {match.group(2)}"
    for match in ONE.finditer(line):
        yield "off by one", match.end(1), match.end(), f"({ON} ? 0 : 1)", f"0 for 1: {line.strip()}"
    match = AND_OR.match(line)
    if match and balanced(match.group(2)) and balanced(match.group(4)):
        left, operator, right = match.group(2), match.group(3), match.group(4)
        yield ("and, or", match.start(2), match.end(4), f"{ON} ? (({left}) {OTHER[operator]} ({right})) : (({left}) {operator} ({right}))",
               f"{OTHER[operator]} for {operator}: {line.strip()}")


def of_this_engine(line):
    """The same of the kinds that an engine has which keeps promises about disks and threads."""
    for match in SYNC.finditer(line):
        yield "sync", *match.span(), f"({ON} ? Result<void>() : {match.group()})", f"not made: {line.strip()}"
    for match in CHECK_CALL.finditer(line):
        # The call is made, as what it opens or counts may be needed.
        yield "check", *match.span(), f"(static_cast<int>({match.group()}) | static_cast<int>({ON}))", f"always right: {line.strip()}"
    for match in CHECKSUM.finditer(line):
        if "crc" in match.group("all"):
            yield "check", *match.span("all"), always(match), f"always right: {line.strip()}"
    for match in AGAIN.finditer(line):
        yield "wait", *match.span("all"), always(match), f"takes it for unchanged: {line.strip()}"
    for match in MUST_WAIT.finditer(line):
        yield "wait", *match.span(), f"({ON} || {match.group()})", f"does not wait: {line.strip()}"
    for match in WAKE.finditer(line):
        yield "wait", *match.span(), f"({ON} ? (void)0 : (void){match.group()})", f"left out: {match.group()}"
    match = LOCK.match(line)
    if match:
        _, lock, mutex = match.groups()
        yield ("wait", *match.span(1), f"std::unique_lock {lock}({mutex}, std::defer_lock); if ({OFF}) {lock}.lock();",
               f"left out: {match.group(1)}")


def always(match):
    """A comparison that finds its sides equal, whatever they are."""
    text = match.group("all")
    return f"({ON} || {text})" if match.group(2) == "=" else f"({OFF} && {text})"


def candidates():
    """All mutants of all files."""
    found = {}
    for layer in LAYERS:
        for path in sorted((ROOT / "src" / layer).glob("*.hpp")):
            previous = ""
            name = path.relative_to(ROOT / "src").as_posix()
            for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
                code = re.sub(r"\s*//.*", "", line)
                begins = previous.endswith((";", "{", "}"))
                previous = code or previous
                if not code.startswith(" " * 4) or code.lstrip().startswith("#"):
                    continue
                changes = list(of_this_engine(code))
                if not IRRELEVANT.search(code):
                    changes += ordinary(code, begins)
                for kind, begin, end, change, what in changes:
                    mutant = Mutant(kind, name, number, code, (begin, end, change), what)
                    while mutant.key in found:
                        mutant.which += 1
                    found[mutant.key] = mutant
    return list(found.values())
