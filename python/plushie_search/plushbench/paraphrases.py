"""Paraphrases: other words for every attribute, in sentences.

The words and the sentences were written for this benchmark alone, without a look at those of training, and no model of
this package is trained on the sentences. None of the renderer's own words for an attribute (`plush_words`) occurs among
them. Training knows other words than the renderer's as well: 55 % of the English alternatives here, 39 % of the
simplified and 40 % of the traditional Chinese ones have a word in them that `train/words.py` or `train/nouns.py` has
too, be it "teddy" or only "head". A test holds these shares. Training with WordNet (`train/dictionary.py`) knows
80 % of the English ones in this way, and 26 % in the meaning that they have here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from ..plush.facts import LANGUAGES, Fact, Language

#: For each value the alternatives in English, simplified and traditional Chinese, separated by `|`.
_Words = dict[str, tuple[str, str, str]]

SPECIES: _Words = {
    "bear": ("teddy|grizzly|bruin", "熊宝宝|泰迪熊|熊崽", "熊寶寶|泰迪熊|熊熊"),
    "rabbit": ("bunny|hare|cottontail", "兔宝宝|兔兔|小兔", "兔寶寶|兔兔|小兔"),
    "cat": ("kitty|kitten|feline|moggy", "喵喵|小猫|喵星人", "喵喵|小貓|貓貓"),
    "dog": ("puppy|doggy|pooch|hound", "狗狗|汪汪|汪星人", "狗狗|汪汪|狗寶寶"),
    "elephant": ("jumbo|heffalump|pachyderm", "象宝宝|小象|长鼻子象", "象寶寶|小象|長鼻子象"),
    "panda": ("bamboo muncher|bamboo eater|bamboo lover", "国宝滚滚|滚滚|食铁兽", "熊貓|國寶滾滾|圓仔"),
    "fox": ("foxy|vixen|reynard", "小狐|狐宝宝|狐仙", "小狐|狐寶寶|狐仙"),
    "frog": ("froggy|toad|croaker", "蛙蛙|小蛙|呱呱", "蛙蛙|小蛙|呱呱"),
    "penguin": (
        "pingu|antarctic waddler|waddly polar bird",
        "南极小胖鸟|南极来的胖鸟|摇摇摆摆的南极鸟",
        "南極小胖鳥|南極來的胖鳥|搖搖擺擺的南極鳥",
    ),
    "pig": ("piggy|piglet|oinker", "猪猪|猪宝宝|猪仔", "豬豬|豬寶寶|豬仔"),
    "mouse": ("mousey|little rodent|squeaky rodent", "耗子|鼠鼠|鼠宝宝", "鼠鼠|鼠寶寶|小鼠"),
    "lion": ("simba|king of the jungle|king of the savannah", "狮宝宝|小狮王|丛林之王", "獅寶寶|小獅王|叢林之王"),
    "duck": ("ducky|duckling|quacker", "鸭鸭|鸭宝宝|嘎嘎", "鴨鴨|鴨寶寶|嘎嘎"),
    "monkey": ("chimp|little ape|cheeky primate", "猴猴|猴宝宝|小猕猴", "猴猴|猴寶寶|馬騮"),
    "sheep": ("lamb|lambkin|baa-baa", "小羊羔|咩咩|羊宝宝", "小羊|咩咩|羊寶寶"),
    "unicorn": (
        "one-horned pony|horned fairytale pony|magical horned horse",
        "带角的小马|长角的梦幻马|一只角的小马",
        "有角的小馬|長角的夢幻馬|單角小馬",
    ),
    "dinosaur": ("dino|t-rex|jurassic reptile", "小霸王龙|龙龙|侏罗纪小龙", "小暴龍|龍龍|侏羅紀小龍"),
    "koala": ("gum-tree hugger|aussie marsupial|eucalyptus muncher", "树袋熊|树熊|桉树懒熊", "樹熊|尤加利熊|抱樹懶熊"),
}
COLORS: _Words = {
    "white": ("snowy|milky|snow-coloured", "雪白|奶白|白白", "雪白|奶白|白白"),
    "grey": ("ash-coloured|silvery|slate", "银灰|烟灰|灰扑扑", "銀灰|煙灰|灰灰"),
    "black": ("jet|inky|ebony", "乌黑|漆黑|墨黑", "烏黑|漆黑|墨黑"),
    "brown": ("chocolate|chestnut|cocoa-coloured", "巧克力色|咖啡色|栗子色", "巧克力色|咖啡色|栗子色"),
    "beige": ("cream|sandy|oatmeal", "奶油色|燕麦色|杏色", "奶油色|燕麥色|杏色"),
    "red": ("crimson|scarlet|cherry-coloured", "大红|朱红|红彤彤", "大紅|朱紅|紅通通"),
    "orange": ("tangerine|pumpkin-coloured|carroty", "橘色|南瓜色|胡萝卜色", "橘色|南瓜色|胡蘿蔔色"),
    "yellow": ("lemony|canary|sunshine-coloured", "鹅黄|明黄|柠檬黄", "鵝黃|亮黃|檸檬黃"),
    "green": ("emerald|grassy|leaf-coloured", "翠绿|草绿|绿油油", "翠綠|草綠|綠油油"),
    "turquoise": ("teal|aqua|cyan", "蓝绿|碧青|松石绿", "藍綠|碧青|松石綠"),
    "sky_blue": ("azure|pastel cerulean|powdery cerulean", "浅蓝|淡蓝|水蓝", "淺藍|淡藍|水藍"),
    "blue": ("navy|cobalt|sapphire", "宝蓝|深蓝|海军蓝", "寶藍|深藍|海軍藍"),
    "purple": ("violet|plum-coloured|grape-coloured", "葡萄紫|紫罗兰|紫莹莹", "葡萄紫|紫羅蘭|紫紫"),
    "pink": ("rosy|bubblegum|rose-coloured", "粉嫩|粉粉|樱花粉", "粉嫩|粉粉|櫻花粉"),
}
FURS: _Words = {
    "short": ("sleek|close-cropped|smooth-coated", "毛短短的|短绒的|毛很服帖的", "毛短短的|短絨的|毛很服貼的"),
    "long": ("shaggy|fluffy|floofy", "毛长长的|长绒的|蓬蓬松松的", "毛長長的|長絨的|蓬蓬鬆鬆的"),
    "curly": ("frizzy|woolly|permed", "毛卷卷的|像烫过的|羊羔绒的", "毛捲捲的|像燙過的|羊羔絨的"),
}
POSES: _Words = {
    "sitting": ("seated|sat on its bottom|perched on its bum", "坐在那儿|坐下来|端坐", "坐在那裡|坐下來|端坐"),
    "standing": ("upright|up on its feet|up on two legs", "站得直直|立在那儿|站起来", "站得直直|立在那裡|站起來"),
    "lying": (
        "sprawled out|stretched out flat|flopped down for a nap",
        "躺平|平躺|躺下来",
        "躺平|平躺|躺下來",
    ),
}
#: `{c}` is the second color, or nothing; if it cannot be left out, the color is always said.
PATTERNS: _Words = {
    "plain": (
        "in one shade all over|in a single shade|in the same shade from head to toe",
        "全身一个颜色|浑身一色|从头到脚一个颜色",
        "全身一個顏色|渾身一色|從頭到腳一個顏色",
    ),
    "belly": ("with a {c}tummy|with a {c}tum", "小肚子{c}|肚肚{c}|肚子那块{c}", "小肚子{c}|肚肚{c}|肚子那塊{c}"),
    "patches": (
        "with {c}blotches|with {c}splotches|with big {c}blobs",
        "身上有{c}色块|带{c}花斑|有一块块{c}斑",
        "身上有{c}色塊|帶{c}花斑|有一塊塊{c}斑",
    ),
    "stripes": (
        "with {c}bands all over|with {c}zebra lines|with {c}tiger lines",
        "身上有{c}横纹|一道一道{c}斑纹|带{c}条条",
        "身上有{c}橫紋|一道一道{c}斑紋|帶{c}條條",
    ),
    "spots": (
        "with {c}polka dots|with {c}speckles|with {c}dots all over",
        "身上有{c}波点|带{c}点点|布满{c}小圆斑",
        "身上有{c}波點|帶{c}點點|佈滿{c}小圓斑",
    ),
    "two_tone": (
        "with {c}mitts|with {c}hands and feet|with {c}socks and gloves",
        "四肢{c}|爪爪{c}|小爪子{c}",
        "四肢{c}|爪爪{c}|小爪子{c}",
    ),
}
#: `{c}` is the color, or nothing.
WORN: _Words = {
    "scarf": (
        "a {c}muffler|a {c}neck warmer|a {c}neck wrap",
        "围{c}围脖|脖子上裹{c}脖套|脖子上绕{c}毛线巾",
        "圍{c}圍脖|脖子上裹{c}脖套|脖子上繞{c}頸巾",
    ),
    "bow_tie": (
        "a {c}dicky|a fancy {c}neck knot|a {c}tuxedo knot",
        "系{c}领花|打{c}小领花|别{c}领花",
        "繫{c}領花|打{c}煲呔|別{c}領花",
    ),
    "collar": (
        "a {c}neckband|a {c}choker|a {c}pet band",
        "脖子上套{c}颈圈|有{c}颈环|拴{c}脖圈",
        "脖子上套{c}頸圈|有{c}頸環|拴{c}脖圈",
    ),
    "any_hat": (
        "a {c}cap|a {c}lid on its head|a {c}sun cap",
        "头上扣{c}帽|戴顶{c}帽帽|顶着{c}小帽",
        "頭上扣{c}帽|戴頂{c}帽帽|頂著{c}小帽",
    ),
    "beanie": (
        "a {c}bobble toque|a {c}knitted toque|a {c}ski toque",
        "戴{c}针织帽|头上套{c}冷帽|戴顶{c}绒线帽",
        "戴{c}針織帽|頭上套{c}冷帽|戴頂{c}毛帽",
    ),
    "crown": (
        "a {c}tiara|a {c}coronet|a {c}royal headpiece",
        "头顶{c}王冠|戴{c}冠冕|戴{c}公主冠",
        "頭頂{c}王冠|戴{c}冠冕|戴{c}公主冠",
    ),
    "bow": (
        "a {c}ribbon on its head|a {c}head ribbon|a {c}ribbon by its ear",
        "头上系{c}缎带|扎{c}丝带|头上别{c}绸带",
        "頭上繫{c}緞帶|綁{c}絲帶|頭上別{c}綢帶",
    ),
    "flower": (
        "a {c}blossom on its head|a {c}daisy by its ear|a {c}bloom on its head",
        "头上别{c}小花|耳边插{c}鲜花|簪{c}小雏菊",
        "頭上別{c}小花|耳邊插{c}鮮花|簪{c}小雛菊",
    ),
    "glasses": (
        "{c}specs|{c}spectacles|{c}goggles",
        "架{c}镜框|鼻子上架{c}框框|戴{c}近视镜",
        "架{c}鏡框|鼻子上架{c}框框|戴{c}近視鏡",
    ),
    "shirt": ("a {c}tee|a {c}jumper|a {c}top", "穿{c}T恤|套{c}小衫|身穿{c}毛衣", "穿{c}T恤|套{c}小衫|身穿{c}毛衣"),
    "backpack": (
        "a {c}rucksack|a {c}school bag|a {c}knapsack",
        "背{c}书包|背{c}双肩包|背上有{c}小包",
        "背{c}書包|背{c}雙肩包|背上有{c}小包",
    ),
    "heart": (
        "a {c}love cushion|a {c}valentine pillow|a {c}valentine cushion",
        "怀里搂{c}桃心|捧{c}小心心|搂{c}心形抱枕",
        "懷裡摟{c}桃心|捧{c}小心心|摟{c}心形抱枕",
    ),
}
#: Nouns for a plush if its species is not said.
TOYS = (
    "stuffie|soft toy|cuddly toy|snuggle buddy",
    "娃娃|公仔|玩偶|布偶",
    "娃娃|公仔|玩偶|布偶",
)
FRAMES: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = (
    (
        "{np}",
        "do you have {np}?",
        "hoping to find {np} for my niece",
        "{np} please",
        "we lost {np}, has anyone seen it?",
        "my kid keeps asking about {np}",
        "any chance you still sell {np}?",
        "gift idea: {np}",
        "it was {np}, i think",
        "need {np} by friday",
        "saw {np} in your shop last week",
        "something like {np} maybe",
    ),
    (
        "{np}",
        "有没有{np}？",
        "想给女儿买{np}",
        "我家孩子丢了{np}",
        "店里还有{np}吗",
        "求购{np}",
        "上次看到{np}，还在吗",
        "{np}，求同款",
        "朋友生日想送{np}",
        "麻烦帮我看看{np}",
        "记得是{np}",
        "宝宝天天念叨{np}",
    ),
    (
        "{np}",
        "請問有{np}嗎？",
        "想買{np}給女兒",
        "我家小朋友弄丟了{np}",
        "店裡還有賣{np}嗎",
        "徵求{np}",
        "上次看到{np}，還在嗎",
        "{np}，哪裡買得到",
        "朋友生日想送{np}",
        "麻煩幫我看看{np}",
        "好像是{np}",
        "小孩一直吵著要{np}",
    ),
)
#: Patterns that can be said without a color.
COLORLESS = ("plain", "patches", "stripes", "spots")


def sayable(facts: Sequence[Fact]) -> bool:
    """Returns whether the tables have words for these facts."""
    names = {fact[0]: fact[1] for fact in facts}
    if "second_color" in names and "pattern" not in names:
        return False
    if "second_color" not in names and names.get("pattern", "plain") not in COLORLESS:
        return False
    worn = [fact[1] for fact in facts if fact[0] == "wears"]
    return all(kind in WORN for kind in worn) and "lacks" not in names


def paraphrase(facts: Sequence[Fact], language: Language, dice: random.Random) -> str:
    """Returns one way to ask for a plush of which these facts are true; they must be `sayable`."""
    column = LANGUAGES.index(language)

    def pick(words: _Words, value: str) -> str:
        return dice.choice(words[value][column].split("|"))

    def colored(words: _Words, value: str, color: str | None) -> str:
        after = " " if language == "en" else "的"
        return pick(words, value).format(c="" if color is None else pick(COLORS, color) + after)

    said = {fact[0]: fact[1] for fact in facts if fact[0] != "wears"}
    color = pick(COLORS, said["color"]) if "color" in said else ""
    fur = pick(FURS, said["fur"]) if "fur" in said else ""
    noun = pick(SPECIES, said["species"]) if "species" in said else dice.choice(TOYS[column].split("|"))
    worn = [colored(WORN, fact[1], fact[2] if len(fact) > 2 else None) for fact in facts if fact[0] == "wears"]
    marks = [colored(PATTERNS, said["pattern"], said.get("second_color"))] if "pattern" in said else []
    poses = [pick(POSES, said["pose"])] if "pose" in said else []
    frame = dice.choice(FRAMES[column])
    if language == "en":
        return spoken(frame.format(np=_english([fur, color, noun], worn, marks, poses, dice)))
    return frame.format(np=_chinese([color and color + "的", fur, noun], worn, marks, poses, dice))


def _english(head: list[str], worn: list[str], marks: list[str], poses: list[str], dice: random.Random) -> str:
    phrase = "a " + " ".join(part for part in head if part)
    phrase += "".join(f" {mark}" for mark in marks)
    if worn:
        phrase += dice.choice([" that has ", " sporting ", " and it has "]) + " and ".join(worn)
    return phrase + "".join(f", {pose}" for pose in poses)


def _chinese(head: list[str], worn: list[str], marks: list[str], poses: list[str], dice: random.Random) -> str:
    phrase = "".join(head)
    clauses = [*poses, *worn]
    if clauses and dice.random() < 0.5:
        phrase = f"{clauses.pop()}的{phrase}"
    return "，".join([phrase, *clauses, *marks])


def spoken(text: str) -> str:
    """Returns the text with `an` for `a` where it is spoken so."""
    return re.sub(r"\ba (?=[aeio](?!ne-|u))", "an ", text)
