"""CSV, JSON and JSON lines become items."""

import io
import json
from pathlib import Path

import pytest

from plushie_search.interop.descriptions import Description, picture_ids, read_descriptions, read_json_lines


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "toys.csv",
        "\ufeffid,images,label,description,price,code,sale,color\r\n"
        'bear,a.jpg; b/c.jpg,bear,"brown, with\na scarf",12.5,007,true,\r\n'
        "小熊,d.jpg,,,,,,红色\r\n",
    )
    assert read_descriptions(path) == [
        Description(
            "bear",
            [tmp_path / "a.jpg", tmp_path / "b/c.jpg"],
            "bear",
            {"price": 12.5, "code": "007", "sale": True},
            "brown, with\na scarf",
        ),
        Description("小熊", [tmp_path / "d.jpg"], None, {"color": "红色"}, None),
    ]


def test_json_list_and_object_and_lines_say_the_same(tmp_path: Path) -> None:
    records = [
        {"id": "bear", "image": "a.jpg", "label": "bear", "text": "brown", "price": 3, "metadata": {"tags": ["x"]}},
        {"id": "cat", "images": ["/b.jpg", "c.jpg"]},
    ]
    by_id = {record["id"]: {key: value for key, value in record.items() if key != "id"} for record in records}
    expected = [
        Description("bear", [tmp_path / "a.jpg"], "bear", {"price": 3, "tags": ["x"]}, "brown"),
        Description("cat", [Path("/b.jpg"), tmp_path / "c.jpg"]),
    ]
    assert read_descriptions(written(tmp_path, "list.json", json.dumps(records))) == expected
    assert read_descriptions(written(tmp_path, "object.json", json.dumps(by_id))) == expected
    lines = "\n\n".join(json.dumps(record) for record in records)
    assert read_descriptions(written(tmp_path, "lines.jsonl", lines)) == expected


def test_records_of_one_id_are_one_item(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "id,image,label,price\nbear,a.jpg,bear,1\nbear,b.jpg,,2\nbear,a.jpg,,\n")
    assert read_descriptions(path) == [
        Description("bear", [tmp_path / "a.jpg", tmp_path / "b.jpg"], "bear", {"price": 2})
    ]


def test_without_an_id_the_picture_names_the_item(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "image\nphotos/bear;1.jpg\n")
    assert read_descriptions(path) == [Description("photos/bear;1", [tmp_path / "photos/bear;1.jpg"])]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "bear", r"x\.txt: needs a folder of pictures or a file that ends in \.csv, \.json, \.jsonl"),
        ("x.csv", "id,image\n", r"x\.csv: describes no item"),
        ("x.csv", "id,image\nbear\n", r"x\.csv line 2: has 1 cells, and the first line has 2 names"),
        ("x.csv", "id,image\nbear,a.jpg,b.jpg\n", r"x\.csv line 2: has 3 cells, and the first line has 2 names"),
        ("x.csv", "image,price,price\na.jpg,1,2\n", r"x\.csv line 1: has two columns 'price'"),
        ("x.json", '[{"image": "a", "size": [1, {"cm": NaN}]}]', r"x\.json record 1: size\[1\]\.cm is nan"),
        ("x.jsonl", '{"image": "a"}\n{"image": "b", "price": -Infinity}', r"x\.jsonl line 2: price is -inf"),
        ("x.csv", 'id,image\nbear,"a.jpg\n', r"x\.csv line \d: unexpected end of data"),
        ("x.csv", "id,image\nbear,\n", r"x\.csv line 2: needs an 'image'"),
        ("x.csv", "id,image,text,description\nbear,a.jpg,x,y\n", r"has both 'text' and 'description'"),
        ("x.json", "{", r"x\.json: not JSON"),
        ("x.json", "[" * 100_000, r"x\.json: not JSON"),
        ("x.json", "3", r"x\.json: needs a list of records"),
        ("x.json", "[3]", r"x\.json record 1: needs an object, not 3"),
        ("x.json", '{"bear": 3}', r"x\.json record 1: needs an object, not 3"),
        ("x.json", '[{"id": "bear", "images": [3]}]', r"record 1: needs an 'image'"),
        ("x.json", '[{"id": ["bear"], "image": "a"}]', r'record 1: id needs a text, not \["bear"\]'),
        ("x.json", '[{"image": "a", "metadata": 3}]', r"record 1: metadata needs an object, not 3"),
        ("x.jsonl", '{"image": "a"}\n{', r"x\.jsonl line 2: not JSON"),
    ],
)
@pytest.mark.usefixtures("no_collection")
def test_unreadable_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_descriptions(written(tmp_path, name, text))


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("id,image\nbär,a.jpg\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"x\.csv: not UTF-8 text: .* at byte 10"):
        read_descriptions(path)


@pytest.mark.parametrize(
    ("name", "cells", "values"),
    [
        ("price", ["12.5", "13"], [12.5, 13]),
        ("price", ["1.50", "12.00"], [1.5, 12.0]),
        ("version", ["1.10", "1.9"], ["1.10", "1.9"]),
        ("version", ["1.10", "2"], ["1.10", "2"]),
        ("count", ["0", "-7"], [0, -7]),
        ("code", ["7", "8"], ["7", "8"]),
        ("Product ID", ["7", "8"], ["7", "8"]),
        ("productId", ["7"], ["7"]),
        ("zip code", ["10115"], ["10115"]),
        ("EAN", ["4006381333931"], ["4006381333931"]),
        ("valid", ["1"], [1]),
        ("x", ["2310009E13", "1"], ["2310009E13", "1"]),
        ("x", ["73928e03"], ["73928e03"]),
        ("x", ["5e12345"], ["5e12345"]),
        ("x", ["1.0e999"], ["1.0e999"]),
        ("x", ["1.0e-999"], ["1.0e-999"]),
        ("x", ["1.5e3"], [1500.0]),
        ("x", ["12345678901234567890"], ["12345678901234567890"]),
        ("x", ["9223372036854775807"], [9223372036854775807]),
        ("x", ["9223372036854775808"], ["9223372036854775808"]),
        ("x", ["0.12345678901234567"], ["0.12345678901234567"]),
        ("x", ["007", "8"], ["007", "8"]),
        ("x", ["1", "A12"], ["1", "A12"]),
        ("x", ["-0", "1"], ["-0", "1"]),
        ("x", ["+1"], ["+1"]),
        ("x", [" 1"], [" 1"]),
        ("x", ["１"], ["１"]),
        ("x", ["NaN", "1.5"], ["NaN", "1.5"]),
        ("sold", ["True", "FALSE", "true"], [True, False, True]),
        ("sold", ["True", "unknown"], ["True", "unknown"]),
        ("sold", ["true", "1"], ["true", "1"]),
    ],
)
def test_a_column_is_of_one_kind_that_loses_nothing(
    tmp_path: Path, name: str, cells: list[str], values: list[object]
) -> None:
    rows = "".join(f"{number}.jpg,{cell}\n" for number, cell in enumerate(cells))
    items = read_descriptions(written(tmp_path, "x.csv", f"image,{name}\n{rows}"))
    found = [item.metadata and item.metadata[name] for item in items]
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in values]


def test_numbers_of_json_that_no_number_holds_stay_text(tmp_path: Path) -> None:
    path = written(
        tmp_path, "x.json", '[{"image": "a", "ean": 12345678901234567890, "far": 5e12345, "id": 1' + "0" * 30 + "}]"
    )
    [item] = read_descriptions(path)
    assert (item.id, item.metadata) == ("1" + "0" * 30, {"ean": "12345678901234567890", "far": "5e12345"})


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"image;price\na.jpg;12,5\n", "cells separated by ';'"),
        (b"sep=;\r\nimage;price\r\na.jpg;12,5\r\n", "cells separated by ';'"),
        ("image\tprice\na.jpg\t12,5\n".encode("utf-8-sig"), r"cells separated by '\\t'"),
        ('image,price\na.jpg,"12,5"\n'.encode("utf-16"), "text in UTF-16"),
        ('image,price\na.jpg,"12,5"\n'.encode("utf-16-le"), "text in UTF-16"),
        ('image,price\na.jpg,"12,5"\n'.encode("utf-16-be"), "text in UTF-16"),
    ],
)
def test_other_separators_and_encodings_are_read_and_told(tmp_path: Path, data: bytes, note: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=rf"x\.csv: read as {note}$"):
        assert read_descriptions(path) == [Description("a", [tmp_path / "a.jpg"], metadata={"price": "12,5"})]


def test_gbk_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("image,颜色\na.jpg,红色的小熊\nb.jpg,蓝色\n".encode("gbk"))
    with pytest.warns(UserWarning, match=r"x\.csv: read as text in GBK$"):
        assert [item.metadata for item in read_descriptions(path)] == [{"颜色": "红色的小熊"}, {"颜色": "蓝色"}]


@pytest.mark.parametrize("text", ["bär", "größe", "ÄÖÜ", "señor niño", "Привет, мишка"])
def test_european_encodings_are_no_gbk(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"id,image\n{text},a.jpg\n".encode("cp1251" if "П" in text else "latin-1"))
    with pytest.raises(ValueError, match=r"x\.csv: not UTF-8 text: .*; save it as UTF-8"):
        read_descriptions(path)


def test_empty_lines_of_spreadsheets_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "image, price \n,\na.jpg,3\n , \n\n")
    assert read_descriptions(path) == [Description("a", [tmp_path / "a.jpg"], metadata={"price": 3})]


def test_pictures_that_differ_by_their_ending_are_two_items(tmp_path: Path) -> None:
    table = written(tmp_path, "x.csv", "image,label\na/1.jpg,x\na/1.png,y\na/2.jpg,z\na/2.jpg,w\n")
    assert read_descriptions(table) == [
        Description("a/1.jpg", [tmp_path / "a/1.jpg"], "x"),
        Description("a/1.png", [tmp_path / "a/1.png"], "y"),
        Description("a/2", [tmp_path / "a/2.jpg"], "w"),
    ]
    assert picture_ids(["b.jpg", "a/b.jpg", "c.JPG", "c.jpg", "d"]) == ["b", "a/b", "c.JPG", "c.jpg", "d"]


def test_json_lines_of_an_open_file() -> None:
    text = '{"id": "熊", "image": "a.jpg"}\r\n{"image": "b/c.jpg", "price": 2}\n'
    expected = [Description("熊", [Path("a.jpg")]), Description("b/c", [Path("b/c.jpg")], metadata={"price": 2})]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read_json_lines(io.BytesIO(text.encode(encoding)), "lines") == expected
    with pytest.raises(ValueError, match=r"^lines line 2: not JSON"):
        read_json_lines(io.BytesIO(b'{"image": "a.jpg"}\n{'), "lines")
    with pytest.raises(ValueError, match=r"^lines: describes no item"):
        read_json_lines(io.BytesIO(b"\n"), "lines")
