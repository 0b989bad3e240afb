"""Sentences with personal data in known places, English and Chinese, made from a seed.

Every value is made here by the rule of its own standard, not by what headrace accepts: checks, regions and dates are
computed anew. Values stand in plain, full-width and spaced writing. Hard negatives look like personal data and are
none: orders, versions, dates, prices, ISBNs, random digits, values with a wrong check.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

# Kinds that are numbers with a form of their own; the rest are addresses.
NUMBERS = (
    *(
        "phone",
        "card",
        "iban",
        "cn_resident_id",
        "cn_mobile",
        "cn_uscc",
        "passport",
        "hk_id",
        "macau_id",
        "tw_id",
    ),
    *("hk_macau_permit", "cn_plate"),
)
KINDS = (*NUMBERS, "email", "ip", "cn_address")


@dataclass
class Sentence:
    text: str
    spans: list[tuple[str, int, int]]  # kind, begin, end in characters
    form: str  # plain, wide, spaced; negative where there is nothing to find


def digits(random: Random, count: int) -> str:
    return "".join(random.choices(string.digits, k=count))


def luhn(body: str) -> str:
    """The body and the digit that makes its Luhn sum a multiple of ten."""
    total = sum(sum(divmod(int(c) * (2 if i % 2 == 0 else 1), 10)) for i, c in enumerate(reversed(body)))
    return body + str(-total % 10)


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def grouped(random: Random, text: str, *sizes: int) -> str:
    joint = random.choice([" ", "-", " "])
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    if at < len(text):
        parts.append(text[at:])
    return joint.join(parts)


def in_fours(random: Random, text: str) -> str:
    return grouped(random, text, *[4] * ((len(text) - 1) // 4))


# One function for each kind: its value unbroken, and spaced.


def email(random: Random) -> tuple[str, str]:
    name = random.choice(
        ["maria", "zhang.san", "li_wei", "j.doe+news", "wang88", digits(random, 9), "o-brien"]
    )
    host = random.choice(
        ["example.com", "mail.example.co.uk", "qq.com", "163.com", "my-firm.io", "uni.edu.cn"]
    )
    return f"{name}@{host}", f"{name}@{host}"


def phone(random: Random) -> tuple[str, str]:
    area = f"{random.randint(2, 9)}{random.randint(0, 8)}{random.randint(2, 9)}"
    exchange, line = f"{random.randint(2, 9)}{digits(random, 2)}", digits(random, 4)
    choice = random.randrange(9)
    if choice == 0:
        return f"+1{area}{exchange}{line}", f"+1 ({area}) {exchange}-{line}"
    if choice == 1:
        return f"({area}) {exchange}-{line}", f"{area}-{exchange}-{line}"
    if choice == 2:
        return f"+4420{digits(random, 8)}", f"+44 20 {digits(random, 4)} {digits(random, 4)}"
    if choice == 3:
        return f"+331{digits(random, 8)}", "+33 1 " + " ".join(digits(random, 2) for _ in range(4))
    if choice == 4:
        return f"+4930{digits(random, 7)}", f"+49 30 {digits(random, 7)}"
    if choice == 5:
        number = f"{random.randint(2, 8)}{digits(random, 7)}"
        return f"010-{number}", f"010 {number[:4]} {number[4:]}"
    if choice == 6:
        number = f"{random.randint(2, 8)}{digits(random, 7)}"
        return f"0571-{number}", f"(0571) {number}"
    if choice == 7:
        return (
            f"+852{random.randint(5, 9)}{digits(random, 7)}",
            f"+852 {random.randint(5, 9)}{digits(random, 3)} {line}",
        )
    return f"+8190{digits(random, 8)}", f"090-{digits(random, 4)}-{digits(random, 4)}"


def card(random: Random) -> tuple[str, str]:
    prefix, length = random.choice(
        [
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("2221", 16),
            ("34", 15),
            ("37", 15),
            ("6222", 19),
            ("6217", 19),
            ("6228", 16),
            ("6011", 16),
            ("3530", 16),
            ("36", 14),
            ("4", 13),
        ]
    )
    value = luhn(prefix + digits(random, length - len(prefix) - 1))
    if length in (14, 15):
        return value, grouped(random, value, 4, 6)
    return value, value if length == 13 else in_fours(random, value)


def iban(random: Random) -> tuple[str, str]:
    country, pattern = random.choice(
        [
            ("DE", "n" * 18),
            ("GB", "aaaa" + "n" * 14),
            ("FR", "n" * 10 + "c" * 11 + "nn"),
            ("NL", "aaaa" + "n" * 10),
            ("ES", "n" * 20),
            ("CH", "n" * 5 + "c" * 12),
            ("NO", "n" * 11),
            ("MT", "aaaa" + "n" * 5 + "c" * 18),
        ]
    )
    pools = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}
    body = "".join(random.choice(pools[c]) for c in pattern)
    number = int("".join(str(int(c, 36)) for c in body + country + "00"))
    value = f"{country}{98 - number % 97:02}{body}"
    return value, " ".join(value[i : i + 4] for i in range(0, len(value), 4))


def cn_resident_id(random: Random) -> tuple[str, str]:
    region = random.choice(["110105", "310115", "440305", "330106", "510104", "650102", "820000", "370202"])
    year, month, day = random.randint(1930, 2020), random.randint(1, 12), random.randint(1, 28)
    if random.random() < 0.1:
        value = f"{region}{year % 100:02}{month:02}{day:02}{digits(random, 3)}"
        return value, value
    body = f"{region}{year}{month:02}{day:02}{digits(random, 3)}"
    total = sum(int(c) * (2 ** (17 - i) % 11) for i, c in enumerate(body))
    value = body + "10X98765432"[total % 11]
    return value, random.choice(
        [grouped(random, value, 6, 8), grouped(random, value, 6, 4, 4), " ".join(value)]
    )


def cn_mobile(random: Random) -> tuple[str, str]:
    value = f"1{random.randint(3, 9)}{digits(random, 9)}"
    forms = [
        grouped(random, value, 3, 4),
        f"+86 {value}",
        f"+86 {grouped(random, value, 3, 4)}",
        f"(+86){value}",
    ]
    return random.choice([value, value, value, "+86" + value]), random.choice([*forms, " ".join(value)])


def cn_uscc(random: Random) -> tuple[str, str]:
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    body = random.choice(["91", "92", "12", "51"]) + random.choice(["110108", "310000", "440300", "350211"])
    body += random.choice(["MA", digits(random, 2)]) + "".join(random.choices(alphabet, k=7))
    value = body + alphabet[-sum(alphabet.index(c) * 3**i for i, c in enumerate(body)) % 31]
    return value, in_fours(random, value)


def passport(random: Random) -> tuple[str, str]:
    value = random.choice(["E", "G", "D", "S", "P"]) + digits(random, 8)
    if random.random() < 0.2:
        value = "E" + random.choice("ABCDEFGH") + digits(random, 7)
        return value, value
    return value, f"{value[0]} {value[1:]}"


def hk_id(random: Random) -> tuple[str, str]:
    letters = "".join(random.choices(string.ascii_uppercase, k=random.choice([1, 1, 2])))
    body = letters + digits(random, 6)
    values = [36] * (8 - len(body)) + [int(c, 36) for c in body]
    check = -sum(value * (9 - i) for i, value in enumerate(values)) % 11
    shown = "A" if check == 10 else str(check)
    return f"{body}({shown})", f"{body} ({shown})"


def macau_id(random: Random) -> tuple[str, str]:
    value = f"{random.choice('157')}{digits(random, 6)}({digits(random, 1)})"
    return value, value.replace("(", "（").replace(")", "）")


def tw_id(random: Random) -> tuple[str, str]:
    letter = random.choice(string.ascii_uppercase)
    region = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(letter) + 10
    body = random.choice("1289") + digits(random, 7)
    total = region // 10 + region % 10 * 9 + sum(int(c) * (8 - i) for i, c in enumerate(body))
    value = f"{letter}{body}{-total % 10}"
    return value, f"{value[0]} {value[1:]}"


def hk_macau_permit(random: Random) -> tuple[str, str]:
    value = random.choice(["H" + digits(random, 10), "M" + digits(random, 8), "C" + digits(random, 8)])
    return value, f"{value[0]} {value[1:]}"


def cn_plate(random: Random) -> tuple[str, str]:
    province = random.choice("京沪粤浙苏川鲁豫鄂湘闽辽津渝")
    letter = random.choice("ABCDEFGH")
    rest = random.choice(
        [digits(random, 5), "D" + digits(random, 5), "Q" + digits(random, 4), digits(random, 3) + "KF"]
    )
    return f"{province}{letter}{rest}", f"{province}{letter}·{rest}"


def ip(random: Random) -> tuple[str, str]:
    if random.random() < 0.3:
        value = random.choice(["2001:db8::", "fe80::", "2400:3200:baba::"]) + f"{random.randint(1, 0xFFFF):x}"
    else:
        value = ".".join(str(random.randint(1, 254)) for _ in range(4))
    return value, value


def cn_address(random: Random) -> tuple[str, str]:
    area = random.choice(
        [
            "浙江省杭州市西湖区",
            "北京市海淀区",
            "上海市浦东新区",
            "广东省深圳市南山区",
            "四川省成都市武侯区",
            "苏州市姑苏区",
            "广州市天河区",
        ]
    )
    street = random.choice(
        ["文三路", "中关村大街", "世纪大道", "科技园路", "人民南路", "平江路", "和平里东街"]
    )
    unit = random.choice(
        ["", "", f"{random.randint(1, 9)}单元{random.randint(101, 2999)}室", "A座1203", "3栋502室", "2号楼"]
    )
    value = f"{area}{street}{random.randint(1, 999)}号{unit}"
    return value, value


MAKERS: dict[str, Callable[[Random], tuple[str, str]]] = {
    maker.__name__: maker
    for maker in (
        *(email, phone, card, iban, cn_resident_id, cn_mobile, cn_uscc, passport, hk_id, macau_id, tw_id),
        *(hk_macau_permit, cn_plate, ip, cn_address),
    )
}

ENGLISH = (
    "Please write it down: {}.", "It is {} as far as I know", "{} is what she gave us.",
    "He sent {} yesterday, thanks!", "Form 7: name John Smith; value {}; signed.",
    "The customer ({}) asked for a refund on Monday.",
    'She said "{}" twice in 2023.', "Row 12\t{}\t34 items", "On 2024-05-06 we recorded {} and closed the case.",
)  # fmt: skip
CHINESE = (
    "请记录：{}。", "客户提供的信息是{}，请核对。", "王芳（{}）已到场", "他在2023年5月6日登记了{}", "信息：{}；共3项",
    "我的资料为 {} ，谢谢", "“{}”是他留下的", "办理人：李雷，{}，金额100元",
)  # fmt: skip
CUES = {
    "email": ("email {}", "邮箱：{}"), "phone": ("call {}", "电话：{}"), "card": ("card {}", "银行卡号{}"),
    "iban": ("IBAN {}", "账户 {}"), "ip": ("from host {}", "地址{}"), "cn_resident_id": ("ID card {}", "身份证号{}"),
    "cn_mobile": ("mobile: {}", "手机{}"), "cn_uscc": ("USCC {}", "统一社会信用代码{}"),
    "passport": ("passport {}", "护照号{}"), "hk_id": ("HKID {}", "香港身份证{}"),
    "macau_id": ("Macau ID {}", "澳门身份证{}"),
    "tw_id": ("Taiwan ID {}", "台湾身份证{}"), "hk_macau_permit": ("permit {}", "通行证{}"),
    "cn_plate": ("plate {}", "车牌{}"),
    "cn_address": ("lives at {}", "我住在{}"),
}  # fmt: skip


def wrong_check(random: Random) -> str:
    """A value of a kind with a check, one digit of it changed so that the check fails."""
    kind = random.choice([card, iban, cn_resident_id, cn_uscc, tw_id])
    while len(value := kind(random)[0]) == 15 and kind is cn_resident_id:
        pass  # the old form has none
    last = value[-1]
    others = [c for c in string.digits if c != last] if last.isdigit() else list(string.digits)
    return value[:-1] + random.choice(others)


def negative(random: Random) -> str:
    number = random.randint(1, 10**6)
    choices: list[Callable[[], str]] = [
        lambda: f"Order {digits(random, random.randint(8, 18))} was shipped.",
        lambda: f"订单号{digits(random, random.randint(8, 18))}已发货",
        lambda: f"Tracking no. SF{digits(random, 13)} and invoice #{number}",
        lambda: f"快递单号：YT{digits(random, 13)}",
        lambda: f"Upgrade to version {random.randint(1, 20)}.{random.randint(0, 99)}.{number % 9}.{number % 100} today",
        lambda: f"版本{random.randint(1, 9)}.{random.randint(0, 9)}.{random.randint(0, 9)}.{number % 10}已发布",
        lambda: f"Between 2024-01-{random.randint(10, 28)} 12:30:45 and 06/05/2024 08:15, 3 of {number} failed",
        lambda: f"2024年{random.randint(1, 12)}月{random.randint(1, 28)}号下午3点，第{random.randint(1, 9)}号会议室",
        lambda: f"It costs ${number:,}.{number % 90 + 10} or ¥{number}.00, i.e. {random.random():.12f} of it",
        lambda: f"ISBN 978-7-{digits(random, 3)}-{digits(random, 5)}-{digits(random, 1)}, pages 123-456",
        lambda: f"id {''.join(random.choices('0123456789abcdef', k=32))} at 0x{digits(random, 8)}",
        lambda: f"uuid {digits(random, 8)}-{digits(random, 4)}-4{number % 900 + 100}-a123-{digits(random, 12)}",
        lambda: f"ts={1700000000 + number} seq={number} pid={number % 1000} {1700000000000 + number} ms",
        lambda: f"The code {digits(random, random.choice([4, 6, 8, 10, 12, 16, 20]))} has expired",
        lambda: f"验证码{digits(random, 6)}，尾号{digits(random, 4)}，余额{number}.50元",
        lambda: f"value {wrong_check(random)} is not valid",
        lambda: f"号码{wrong_check(random)}校验失败",
        lambda: f"乘坐{random.randint(1, 20)}号线到人民广场站，换乘{random.randint(1, 900)}路公交车",
        lambda: f"@user{number} wrote std::array<int, {number % 90}> a::b at 12:30, see section {number % 9 + 1}.2.3.4",
        lambda: f"Scores: {number % 7}-{number % 5}, {number % 100}.5% of 1,{digits(random, 3)},{digits(random, 3)}",
        lambda: f"mac 00:1A:{number % 90 + 10}:3C:4D:5E on {digits(random, 8)}T{digits(random, 6)}Z",
        lambda: f"第{number}期，共{number % 100}页，编号A{digits(random, 5)}",
    ]  # fmt: skip
    return random.choice(choices)()


def positive(random: Random) -> Sentence:
    """One or two values in a sentence, in one writing."""
    form = random.choice(["plain", "plain", "wide", "spaced"])
    template = random.choice(random.choice([ENGLISH, CHINESE]))
    chinese = template in CHINESE
    before, behind = template.split("{}")
    text, spans = before, []
    for number in range(random.choice([1, 1, 2])):
        kind = random.choice(KINDS)
        plain, spaced = MAKERS[kind](random)
        value = spaced if form == "spaced" else wide(plain) if form == "wide" else plain
        # Macau's number and passports are told by their form or a word; half of all others have a word too.
        cue = CUES[kind][chinese] if random.random() < 0.5 else "{}"
        if chinese and kind == "cn_address" and cue == "{}":
            cue = "地址是{}"  # an address runs on from what stands in front of it
        lead, tail = cue.split("{}")
        text += ("，" if chinese else ", ") * (number > 0) + lead
        spans.append((kind, len(text), len(text) + len(value)))
        text += value + tail
    return Sentence(text + behind, spans, form)


def sentences(count: int = 5000, seed: int = 1) -> Iterator[Sentence]:
    """Three with personal data for every two without."""
    random = Random(seed)
    for _ in range(count):
        yield positive(random) if random.random() < 0.6 else Sentence(negative(random), [], "negative")
