use super::*;

fn key(number: u8) -> Key {
    Key { digest: [number; 32], view: 0 }
}

/// As large as a thumbnail is.
fn jpeg(number: u8) -> Vec<u8> {
    [b"\xff\xd8\xff", &[number; 8000][..], b"\xff\xd9"].concat()
}

fn kept(thumbnails: &Thumbnails) -> Vec<u8> {
    (0..100).filter(|number| thumbnails.get(key(*number)) == Some(jpeg(*number))).collect()
}

#[test]
fn the_limit_stops_it_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let limited = Thumbnails::new(folder.path(), false, Some(100_000));
    for number in 0..40 {
        limited.put(&[(key(number), &jpeg(number))]);
    }
    let there = kept(&limited);
    assert!(!limited.takes_more() && (8..16).contains(&there.len()), "{there:?}");
    let notices = limited.notices();
    assert!(notices.len() == 1 && notices[0].contains("has reached 100000 bytes"), "{notices:?}");
    limited.put(&[(key(50), &jpeg(50))]);
    assert!(limited.notices().is_empty());
    let unlimited = Thumbnails::new(folder.path(), false, None);
    unlimited.put(&[(key(60), &jpeg(60))]);
    assert_eq!(kept(&limited).len(), there.len() + 1);
    // Some room is made.
    assert_eq!(limited.retain(|| Ok([[60; 32], [0; 32]].into())).unwrap(), there.len() - 1);
    assert!(limited.takes_more());
    limited.put(&[(key(70), &jpeg(70))]);
    assert_eq!(kept(&unlimited), [0, 60, 70]);
}

#[test]
fn views_of_one_file_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let thumbnails = Thumbnails::new(folder.path(), false, None);
    let views = [0, 1].map(|view| Key { view, ..key(1) });
    thumbnails.put(&[(views[0], &jpeg(1)), (views[1], &jpeg(2)), (views[0], &jpeg(3))]);
    assert_eq!(views.map(|view| thumbnails.get(view)), [Some(jpeg(1)), Some(jpeg(2))]);
    assert_eq!(thumbnails.get(Key { view: 2, ..key(1) }), None);
    assert_eq!(thumbnails.retain(|| Ok(HashSet::new())).unwrap(), 2);
}

#[test]
fn what_is_added_while_they_are_listed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let thumbnails = Thumbnails::new(folder.path(), false, None);
    thumbnails.put(&[(key(1), &jpeg(1))]);
    let meanwhile = || {
        thumbnails.put(&[(key(2), &jpeg(2))]);
        Ok(HashSet::new())
    };
    assert_eq!(thumbnails.retain(meanwhile).unwrap(), 1);
    assert_eq!(kept(&thumbnails), [2]);
}

#[test]
fn nothing_is_made_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    for read_only in [false, true] {
        let thumbnails = Thumbnails::new(folder.path(), read_only, None);
        assert_eq!(thumbnails.get(key(1)), None);
        assert_eq!(thumbnails.retain(|| Ok(HashSet::new())).unwrap(), 0);
        assert!(thumbnails.notices().is_empty() && thumbnails.takes_more() != read_only);
    }
    let read_only = Thumbnails::new(folder.path(), true, None);
    read_only.put(&[(key(1), &jpeg(1))]);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_flipped_bit_is_none_and_what_is_made_anew_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let thumbnails = Thumbnails::new(folder.path(), false, None);
    thumbnails.put(&[(key(1), &jpeg(1)), (key(2), &jpeg(2))]);
    let other = Connection::open(folder.path().join("thumbnails.sqlite")).unwrap();
    other.execute("UPDATE thumbnails SET jpeg = ? WHERE digest = ?", params![jpeg(3), [1u8; 32]]).unwrap();
    assert_eq!(Thumbnails::new(folder.path(), true, None).get(key(1)), None);
    assert_eq!(kept(&thumbnails), [2]);
    thumbnails.put(&[(key(1), &jpeg(1))]);
    assert_eq!(kept(&thumbnails), [1, 2]);
}

#[test]
fn thumbnails_of_the_former_format_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let other = Connection::open(folder.path().join("thumbnails.sqlite")).unwrap();
    other.execute_batch(FORMER).unwrap();
    other.pragma_update(None, "user_version", 1).unwrap();
    let row = params![[1u8; 32], 0, jpeg(1)];
    other.execute("INSERT INTO thumbnails VALUES (?, ?, ?)", row).unwrap();
    drop(other);
    assert_eq!(kept(&Thumbnails::new(folder.path(), true, None)), [1]);
    let thumbnails = Thumbnails::new(folder.path(), false, None);
    thumbnails.put(&[(key(2), &jpeg(2))]);
    assert_eq!(kept(&thumbnails), [1, 2]);
    assert!(thumbnails.notices().is_empty());
}

#[test]
fn half_a_picture_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let thumbnails = Thumbnails::new(folder.path(), false, None);
    thumbnails.put(&[(key(1), &jpeg(1)[..4000]), (key(2), b"<svg onload=alert(1)>")]);
    assert_eq!([1, 2].map(|number| thumbnails.get(key(number))), [None, None]);
}
