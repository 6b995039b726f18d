"""Words for the things that a plush can be, in English and Chinese, beyond the renderer's own words.

Chinese is written in simplified characters here; `traditional` makes the other spelling. Values are the renderer's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

Names = dict[str, tuple[str, str]]
Written = Literal["en", "zh"]
More = Mapping[tuple[str, str], Sequence[Sequence[str]]]
"""By value and language: further words for it, in groups that are chosen equally often."""

SPECIES: Names = {
    "bear": ("bear|teddy|teddy bear|bear cub", "熊|小熊|熊熊|泰迪熊|泰迪|熊仔|熊宝宝"),
    "rabbit": ("rabbit|bunny|bunny rabbit|hare", "兔子|小兔|兔|兔兔|小兔子|兔宝宝|兔仔"),
    "cat": ("cat|kitty|kitten|kitty cat", "猫|小猫|猫咪|猫猫|喵喵|小猫咪"),
    "dog": ("dog|puppy|doggy|pup|hound", "狗|小狗|狗狗|狗子|汪汪|犬"),
    "elephant": ("elephant|baby elephant", "大象|小象|象|象宝宝"),
    "panda": ("panda|panda bear|giant panda", "熊猫|大熊猫|猫熊|熊猫宝宝"),
    "fox": ("fox|little fox", "狐狸|小狐狸|狐"),
    "frog": ("frog|froggy|toad", "青蛙|小青蛙|蛙|蛤蟆"),
    "penguin": ("penguin|little penguin", "企鹅|小企鹅"),
    "pig": ("pig|piggy|piglet|hog", "猪|小猪|猪猪|猪仔"),
    "mouse": ("mouse|little mouse|rat", "老鼠|小老鼠|鼠|小鼠"),
    "lion": ("lion|lion cub", "狮子|小狮子|狮|雄狮"),
    "duck": ("duck|ducky|duckling", "鸭子|小鸭|鸭|小鸭子|鸭鸭"),
    "monkey": ("monkey|ape|chimp", "猴子|小猴子|猴|小猴"),
    "sheep": ("sheep|lamb|little lamb", "羊|绵羊|小羊|小绵羊|羊羊|羊羔"),
    "unicorn": ("unicorn|little unicorn", "独角兽|小独角兽"),
    "dinosaur": ("dinosaur|dino|t-rex", "恐龙|小恐龙|龙宝宝"),
    "koala": ("koala|koala bear", "考拉|树袋熊|无尾熊|小考拉"),
}

COLORS: Names = {
    "white": ("white|snow white|snowy", "白色|白|雪白|纯白"),
    "grey": ("grey|gray|greyish|silver grey", "灰色|灰|银灰色"),
    "black": ("black|jet black", "黑色|黑|乌黑"),
    "brown": ("brown|chocolate brown|chestnut|dark brown", "棕色|咖啡色|褐色|棕|啡色|巧克力色"),
    "beige": ("beige|cream|sand|tan|light brown", "米色|米黄色|奶油色|浅棕色|米白色"),
    "red": ("red|scarlet|crimson|bright red", "红色|红|大红|鲜红|大红色"),
    "orange": ("orange|tangerine", "橙色|橘色|橙|橘黄色|橘红"),
    "yellow": ("yellow|lemon yellow|bright yellow", "黄色|黄|鲜黄|柠檬黄"),
    "green": ("green|grass green", "绿色|绿|草绿|翠绿"),
    "turquoise": ("turquoise|teal|blue-green|aqua", "青色|蓝绿色|青绿色|松石绿"),
    "sky_blue": ("sky blue|light blue|baby blue|pale blue", "天蓝色|浅蓝色|淡蓝色|天蓝"),
    "blue": ("blue|dark blue|navy|navy blue|royal blue", "深蓝色|蓝色|蓝|宝蓝色|藏青色"),
    "purple": ("purple|violet", "紫色|紫|紫罗兰色"),
    "pink": ("pink|rose|light pink", "粉色|粉红色|粉红|粉"),
}

ACCESSORIES: Names = {
    "scarf": ("scarf|muffler|neck scarf", "围巾|颈巾|小围巾|围脖"),
    "bow_tie": ("bow tie|bowtie", "领结|蝴蝶领结|小领结"),
    "collar": ("collar|neckband", "项圈|颈圈"),
    "hat": ("hat|top hat", "礼帽|帽子|高帽|帽"),
    "beanie": ("beanie|woolly hat|knit cap|hat|knitted hat", "毛线帽|针织帽|帽子|绒线帽|帽"),
    "crown": ("crown|tiara", "皇冠|王冠"),
    "bow": ("hair bow|bow|ribbon|bow on the head", "蝴蝶结|丝带|小蝴蝶结|缎带"),
    "flower": ("flower|blossom|daisy", "花|小花|花朵"),
    "glasses": ("glasses|spectacles|eyeglasses|specs", "眼镜|小眼镜"),
    "shirt": ("shirt|t-shirt|tee|top|sweater", "上衣|衬衫|T恤|衣服|毛衣"),
    "backpack": ("backpack|rucksack|school bag|bag", "背包|书包|小背包|双肩包"),
    "heart": ("heart|love heart|little heart", "爱心|心|心形|小爱心"),
}

PATTERNS: Names = {
    "plain": ("plain|single-colored|one-colour", "纯色|单色|素色"),
    "belly": ("belly|tummy|stomach", "肚皮|肚子"),
    "patches": ("patches|blotches", "斑块|花斑|色块"),
    "stripes": ("stripes|bands", "条纹|斑纹|条条"),
    "spots": ("spots|dots|polka dots", "圆点|斑点|点点|波点"),
    "two_tone": ("paws and ears|ears and paws|hands and feet", "手脚和耳朵|耳朵和手脚|耳朵和爪子"),
}
PATTERN_ADJECTIVES = {
    "patches": ("patched|patchy", "带色块的|花斑"),
    "stripes": ("striped|stripy", "条纹|带条纹的"),
    "spots": ("spotted|dotted|polka-dot", "斑点|带圆点的|波点"),
}

POSES: Names = {
    "sitting": ("sitting|seated", "坐着的|坐着"),
    "standing": ("standing|upright", "站立的|站着的|站着"),
    "lying": ("lying|lying down|resting", "躺着的|趴着的|躺着"),
}
FURS: Names = {
    "short": ("short-haired|smooth", "短毛"),
    "long": ("long-haired|shaggy|fluffy", "长毛|长毛的"),
    "curly": ("curly|curly-haired", "卷毛|卷毛的"),
}

VERBS = {"shirt": "穿着|穿|身穿", "backpack": "背着|背|带着", "heart": "抱着|拿着|捧着", "": "戴着|戴|带着|系着"}
"""Chinese verbs for wearing a thing; most are 戴."""

_PAIRS = (
    "围圍 红紅 绿綠 蓝藍 黄黃 结結 带帶 领領 镜鏡 阳陽 线線 针針 织織 礼禮 圣聖 诞誕 书書 双雙 "
    "爱愛 铃鈴 铛鐺 机機 项項 链鏈 衬襯 马馬 连連 裤褲 装裝 夹夾 风風 兽獸 独獨 龙龍 鸭鴨 鸡雞 "
    "鹅鵝 猫貓 头頭 鹰鷹 鸟鳥 长長 颈頸 驯馴 狮獅 鲸鯨 鱼魚 驴驢 猪豬 龟龜 乌烏 鳄鱷 态態 蝾蠑 "
    "条條 纹紋 点點 块塊 两兩 个個 只隻 着著 张張 图圖 们們 这這 为為 罗羅 兰蘭 浅淺 银銀 纯純 "
    "鲜鮮 宝寶 军軍 树樹 无無 怀懷 里裡 绒絨 绵綿 请請 给給 买買 颜顏 样樣 种種 饰飾 别別 顶頂 "
    "颗顆 对對 与與 没沒 发髮 卷捲 较較 灯燈 丝絲 缎緞 仓倉 圆圓 气氣 飞飛 驹駒 鸮鴞 袜襪 挂掛 "
    "体體 寻尋 宠寵 来來 几幾 边邊 东東 会會 还還 么麼 后後 "
    "云雲 伞傘 儿兒 凉涼 凤鳳 剑劍 动動 医醫 卫衛 变變 叶葉 号號 园園 坚堅 垫墊 壶壺 婴嬰 学學 寿壽 属屬 岛島 师師 "
    "帘簾 帜幟 干乾 床牀 异異 懒懶 "
    "户戶 扑撲 扫掃 护護 报報 旧舊 时時 极極 枪槍 柠檸 标標 桥橋 樱櫻 汉漢 汤湯 浆漿 游遊 滩灘 炉爐 烛燭 烟煙 热熱 "
    "猎獵 猕獼 猬蝟 獭獺 电電 画畫 "
    "皂皁 盐鹽 盘盤 笋筍 笔筆 筝箏 篮籃 纸紙 网網 肠腸 脑腦 脚腳 脸臉 芦蘆 苹蘋 萝蘿 萨薩 葱蔥 虫蟲 虾蝦 蚁蟻 蚂螞 "
    "蜗蝸 蜡蠟 蝎蠍 视視 记記 话話 "
    "车車 轮輪 轿轎 运運 郁鬱 钉釘 钟鍾 钢鋼 钥鑰 钱錢 钻鑽 铅鉛 锁鎖 锅鍋 锤錘 键鍵 锯鋸 门門 闹鬧 雏雛 饭飯 饺餃 "
    "饼餅 馅餡 驼駝 骆駱 鱿魷 鲨鯊 "
    "鸦鴉 鸵鴕 鸽鴿 鹈鵜 鹉鵡 鹊鵲 鹕鶘 鹤鶴 鹦鸚 鹭鷺 麦麥 齿齒 "
)
_TABLE = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}


class Book:
    """The words for values in captions: the tables here, and further words if there are any."""

    def __init__(self, more: More | None = None) -> None:
        self._more = more or {}

    def call(self, names: Names, value: str, language: Written, chance: random.Random) -> str:
        """Returns a word for a value of one of the tables; the usual word half of the time."""
        choices = names[value][language == "zh"].split("|")
        groups = self._more.get((value, language))
        roll = chance.random()
        if roll < 0.5:
            return choices[0]
        if roll < 0.7 or not groups:
            return chance.choice(choices)
        return chance.choice(chance.choice(groups))

    def further(self) -> Iterator[str]:
        """Yields all words that are not in the tables."""
        yield from (word for groups in self._more.values() for group in groups for word in group)


PLAIN = Book()
"""The words of this file alone."""


def traditional(simplified: str) -> str:
    """Returns the traditional spelling of the words and phrases used here; other characters stay as they are."""
    return simplified.translate(_TABLE)


def characters() -> set[str]:
    """Returns every Chinese character of the words here, in both spellings."""
    tables = (SPECIES, COLORS, ACCESSORIES, PATTERNS, PATTERN_ADJECTIVES, POSES, FURS)
    written = "".join(chinese for table in tables for _, chinese in table.values()) + _PAIRS
    return {character for character in written + traditional(written) if character > "\u3000"}
