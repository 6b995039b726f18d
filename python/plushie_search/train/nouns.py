"""Everyday nouns in English and Chinese, so that words reach beyond plush toys.

Chinese is written in simplified characters; `words.traditional` makes the other spelling.
"""

from __future__ import annotations

from collections.abc import Iterator

_PAIRS = """
bear=熊 | brown bear=棕熊 | polar bear, ice bear, white bear=北极熊 | black bear=黑熊 | panda, giant panda=熊猫,大熊猫
red panda, lesser panda=小熊猫 | koala=考拉,树袋熊 | rabbit, bunny, hare=兔子,小兔
cat, kitten, kitty, tabby cat=猫,小猫,猫咪 | dog, puppy, pup=狗,小狗 | wolf=狼 | fox, red fox=狐狸 | lion=狮子
tiger=老虎,虎 | leopard=豹子,豹 | cheetah=猎豹 | elephant=大象,象 | giraffe=长颈鹿 | zebra=斑马 | horse, pony=马,小马
donkey=驴,驴子 | unicorn=独角兽 | deer, fawn=鹿,小鹿 | moose, reindeer, elk=驯鹿,麋鹿 | cow, cattle=牛,奶牛
bull, ox=公牛 | buffalo, bison=水牛,野牛 | sheep, lamb=羊,绵羊,羔羊 | goat=山羊 | pig, hog, piglet=猪,小猪
wild boar=野猪 | mouse=老鼠,鼠 | rat=大鼠 | hamster=仓鼠 | guinea pig=豚鼠 | squirrel=松鼠 | chipmunk=花栗鼠
beaver=河狸,海狸 | hedgehog, porcupine=刺猬 | raccoon=浣熊 | otter=水獭 | skunk=臭鼬 | badger=獾
weasel, ferret, mink=黄鼠狼,雪貂 | bat=蝙蝠 | monkey=猴子,猴 | gorilla=大猩猩 | chimpanzee, ape=黑猩猩,猿
orangutan=红毛猩猩 | lemur=狐猴 | sloth=树懒 | kangaroo, wallaby=袋鼠 | camel=骆驼 | llama, alpaca=羊驼,美洲驼
rhinoceros, rhino=犀牛 | hippopotamus, hippo=河马 | seal, sea lion=海豹,海狮 | walrus=海象 | whale=鲸鱼,鲸
dolphin=海豚 | shark=鲨鱼 | fish=鱼 | goldfish=金鱼 | octopus=章鱼 | squid=鱿鱼 | jellyfish=水母 | starfish=海星
crab=螃蟹 | lobster=龙虾 | shrimp, prawn=虾 | snail=蜗牛 | turtle, tortoise=乌龟,龟,海龟 | frog, toad=青蛙,蛙
lizard, gecko=蜥蜴,壁虎 | chameleon=变色龙 | snake=蛇 | crocodile, alligator=鳄鱼 | dinosaur=恐龙 | dragon=龙
bird=鸟,小鸟 | chicken, hen=鸡,母鸡 | rooster, cock=公鸡 | chick=小鸡 | duck, duckling=鸭子,鸭 | goose=鹅 | swan=天鹅
penguin=企鹅 | owl=猫头鹰 | eagle, hawk=鹰,老鹰 | parrot, macaw=鹦鹉 | peacock=孔雀 | flamingo=火烈鸟
pigeon, dove=鸽子 | crow, raven, magpie=乌鸦,喜鹊 | sparrow, finch=麻雀 | turkey=火鸡 | ostrich=鸵鸟 | pelican=鹈鹕
crane, stork, heron=鹤,鹭 | bee=蜜蜂 | wasp, hornet=黄蜂 | butterfly=蝴蝶 | ladybug, ladybird=瓢虫 | beetle=甲虫
ant=蚂蚁 | spider=蜘蛛 | scorpion=蝎子 | dragonfly=蜻蜓 | grasshopper, cricket=蚱蜢,蟋蟀
worm, caterpillar=虫子,毛毛虫 | insect, bug=昆虫 | animal=动物 | teddy bear, teddy=泰迪熊,玩具熊
doll=娃娃,洋娃娃,玩偶 | toy=玩具 | plush toy, stuffed animal, soft toy=毛绒玩具,公仔 | puppet=木偶,手偶 | robot=机器人
ball=球 | balloon=气球 | kite=风筝 | puzzle, jigsaw puzzle=拼图 | dice=骰子 | playing cards=扑克牌 | apple=苹果
pear=梨,梨子 | orange=橙子,橘子 | lemon=柠檬 | lime=青柠 | banana=香蕉 | grape, grapes=葡萄 | strawberry=草莓
cherry=樱桃 | peach=桃子 | nectarine=油桃 | plum=李子 | mango=芒果 | pineapple=菠萝,凤梨 | watermelon=西瓜
melon=甜瓜,哈密瓜 | kiwi=猕猴桃,奇异果 | avocado=牛油果,鳄梨 | pomegranate=石榴 | papaya=木瓜 | passion fruit=百香果
grapefruit=西柚,葡萄柚 | satsuma, mandarin, tangerine=蜜柑,橘子 | blueberry=蓝莓 | coconut=椰子 | fig=无花果
fruit=水果 | tomato=番茄,西红柿 | potato=土豆,马铃薯 | carrot=胡萝卜 | onion=洋葱 | garlic=大蒜 | ginger=姜,生姜
cabbage=卷心菜,白菜 | lettuce, salad=生菜,沙拉 | broccoli=西兰花 | cauliflower=花椰菜 | cucumber=黄瓜
zucchini, courgette=西葫芦 | aubergine, eggplant=茄子 | pepper, bell pepper=辣椒,甜椒 | chili=红辣椒 | asparagus=芦笋
leek=韭葱,大葱 | beetroot, red beet=甜菜 | corn=玉米 | pumpkin=南瓜 | mushroom=蘑菇 | bean, beans=豆子
pea, peas=豌豆 | vegetable, vegetables=蔬菜 | nut, nuts=坚果 | bread, loaf=面包 | toast=吐司
bagel, pretzel=百吉饼,椒盐卷饼 | croissant=牛角面包 | cake=蛋糕 | cupcake, muffin=纸杯蛋糕,松饼 | cookie, biscuit=饼干
doughnut, donut=甜甜圈 | pancake=煎饼 | pie=馅饼 | ice cream=冰淇淋 | chocolate=巧克力 | candy, sweets=糖果
lollipop=棒棒糖 | cheese=奶酪,芝士 | butter=黄油 | egg=鸡蛋,蛋 | milk=牛奶 | oat milk=燕麦奶 | soy milk=豆奶,豆浆
sour milk=酸乳 | cream, sour cream=奶油,酸奶油 | yoghurt, yogurt=酸奶,酸乳酪 | juice=果汁 | coffee, espresso=咖啡
tea=茶 | water=水 | beer=啤酒 | wine, red wine=葡萄酒,红酒 | soup=汤 | rice=米饭,米
noodles, pasta, spaghetti=面条,意大利面 | dumpling=饺子 | pizza=披萨,比萨
hamburger, burger, cheeseburger=汉堡,汉堡包 | hot dog, hotdog=热狗 | sandwich=三明治 | taco, burrito=墨西哥卷饼
sushi=寿司 | meat, steak=肉,牛排 | sausage=香肠 | bacon=培根 | food, meal, dish=食物,饭菜 | bottle=瓶子
can, tin=罐头,罐子 | cup, mug=杯子 | glass=玻璃杯,玻璃 | bowl=碗 | plate=盘子 | fork=叉子 | spoon=勺子 | knife=刀
chopsticks=筷子 | pot=锅 | pan, frying pan=平底锅 | kettle, teapot=水壶,茶壶 | box, carton, cardboard=盒子,纸箱,纸盒
bag=袋子,包 | paper=纸 | plastic=塑料 | metal=金属 | trash, rubbish, garbage=垃圾 | shirt=衬衫
t-shirt, tee, jersey=T恤 | polo=保罗衫 | longsleeve, long sleeve=长袖 | undershirt=背心 | blouse, top=上衣
sweater, jumper, cardigan=毛衣 | hoodie, sweatshirt=卫衣,连帽衫 | jacket, outwear, coat=外套,夹克,大衣
suit, blazer=西装 | dress, gown=连衣裙,裙子 | skirt=短裙,半身裙 | pants, trousers=裤子 | jeans=牛仔裤 | shorts=短裤
sock, socks=袜子 | shoe, shoes=鞋,鞋子 | sneaker, sneakers, running shoe=运动鞋,球鞋 | boot, boots=靴子
sandal, sandals=凉鞋 | hat=帽子 | cap=鸭舌帽 | beanie=毛线帽 | cowboy hat=牛仔帽 | helmet=头盔 | crown=皇冠
scarf=围巾 | tie, necktie=领带 | bow tie=领结 | bow, ribbon=蝴蝶结 | glove, gloves, mitten=手套 | belt=腰带
glasses, spectacles=眼镜 | sunglasses=太阳镜,墨镜 | watch=手表 | ring=戒指 | necklace=项链 | handbag, purse=手提包
backpack, rucksack=背包,书包 | suitcase=行李箱 | umbrella=雨伞,伞 | wallet=钱包 | pajamas=睡衣 | swimsuit, bikini=泳衣
uniform=制服 | mask=面具,口罩 | car, automobile=汽车,轿车 | sports car=跑车 | taxi, cab=出租车 | bus=公交车,巴士
school bus=校车 | truck, lorry=卡车 | ambulance=救护车 | fire truck, fire engine=消防车 | police car=警车 | van=面包车
tractor=拖拉机 | motorcycle, motorbike=摩托车 | bicycle, bike=自行车 | scooter=滑板车 | train, locomotive=火车
tram=电车 | ship, boat=船,轮船 | sailboat, yacht=帆船,游艇 | canoe, kayak=独木舟 | airplane, plane, airliner=飞机
helicopter=直升机 | rocket=火箭 | house, home=房子,屋子 | castle=城堡 | church=教堂 | tower=塔 | bridge=桥
road, street=路,街道 | city, town=城市 | garden=花园 | park=公园 | mountain=山 | volcano=火山 | valley=山谷 | river=河
lake=湖 | sea, ocean=大海,海洋 | beach, seashore=海滩 | island=岛 | waterfall=瀑布 | desert=沙漠 | forest=森林
tree=树 | flower=花 | rose=玫瑰 | daisy=雏菊 | sunflower=向日葵 | tulip=郁金香 | leaf=叶子 | grass=草 | plant=植物
cactus=仙人掌 | sun=太阳 | moon=月亮 | star=星星 | sky=天空 | cloud=云 | rain=雨 | snow=雪 | snowman=雪人 | fire=火
rainbow=彩虹 | heart=心,爱心 | smile, smiling face=笑脸 | person, people, human=人,人们 | man=男人 | woman=女人
boy=男孩 | girl=女孩 | baby=婴儿,宝宝 | child, children, kid=孩子,小孩 | family=家庭 | face=脸 | hand=手 | foot=脚
eye=眼睛 | nose=鼻子 | mouth=嘴巴 | ear=耳朵 | hair=头发 | head=头 | doctor=医生 | nurse=护士 | teacher=老师
student=学生 | soldier=士兵 | police officer=警察 | chair=椅子 | table, desk=桌子 | sofa, couch=沙发 | bed=床
lamp=灯,台灯 | candle=蜡烛 | clock, alarm clock=时钟,闹钟 | mirror=镜子 | door=门 | window=窗户 | curtain=窗帘
pillow, cushion=枕头,抱枕 | blanket, quilt=毯子,被子 | towel=毛巾 | basket=篮子 | bucket=桶 | vase=花瓶 | book=书
newspaper=报纸 | pen=钢笔 | pencil=铅笔 | scissors=剪刀 | hammer=锤子 | screwdriver=螺丝刀 | wrench=扳手 | saw=锯子
nail=钉子 | screw=螺丝 | drill=钻头 | key=钥匙 | lock=锁 | brush, paintbrush=刷子,画笔 | broom=扫帚 | comb=梳子
toothbrush=牙刷 | soap=肥皂 | computer, laptop, notebook=电脑,笔记本电脑 | keyboard=键盘 | mouse pad=鼠标垫
phone, telephone=电话 | cell phone, mobile phone=手机 | television, tv=电视 | camera=相机,照相机 | radio=收音机
microphone=麦克风 | headphones=耳机 | printer=打印机 | refrigerator, fridge=冰箱 | oven=烤箱 | microwave=微波炉
washing machine, washer=洗衣机 | toilet=马桶 | bathtub=浴缸 | sink=水槽 | guitar=吉他 | piano=钢琴 | violin=小提琴
drum=鼓 | trumpet=小号 | flute=长笛 | football, soccer ball=足球 | basketball=篮球 | tennis ball=网球 | baseball=棒球
volleyball=排球 | skateboard=滑板 | ski, skis=滑雪板 | flag=旗,旗帜 | gift, present=礼物 | christmas tree=圣诞树
fireworks=烟花 | bell=铃铛 | gun, rifle=枪 | sword=剑 | shield=盾牌 | gear=齿轮 | part, component=零件 | model=模型
box=盒子 | red=红色 | orange color=橙色 | yellow=黄色 | green=绿色 | blue=蓝色 | purple=紫色 | pink=粉色 | brown=棕色
white=白色 | black=黑色 | grey, gray=灰色 | striped=条纹 | spotted=斑点 | big=大 | small=小 | old=旧 | new=新
cute=可爱
"""


def translations() -> Iterator[tuple[list[str], list[str]]]:
    """Yields the English and the Chinese words of each thing."""
    for entry in _PAIRS.replace("\n", "|").split("|"):
        if "=" in entry:
            english, chinese = entry.strip().split("=")
            yield [word.strip() for word in english.split(",")], chinese.split(",")
