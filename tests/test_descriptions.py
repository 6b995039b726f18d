"""CSV, JSON and JSON lines become items."""

import json
from pathlib import Path

import pytest

from plushie_search.descriptions import Description, read_descriptions


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "toys.csv",
        "\ufeffid,images,label,description,price,code,sale,colour\r\n"
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
        Description("小熊", [tmp_path / "d.jpg"], None, {"colour": "红色"}, None),
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
        ("x.csv", "id,image\nbear\n", r"x\.csv line 2: has not as many cells"),
        ("x.csv", "id,image\nbear,a.jpg,b.jpg\n", r"x\.csv line 2: has not as many cells"),
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
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_descriptions(written(tmp_path, name, text))


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("id,image\nbär,a.jpg\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"x\.csv: not UTF-8 text: .* at byte 10"):
        read_descriptions(path)
