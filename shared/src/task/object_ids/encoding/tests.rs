use super::*;

fn of<T: AsRef<str>>(ids: impl IntoIterator<Item = T>) -> ObjectIds {
    let mut all = ObjectIds::default();
    for id in ids {
        all.push(id.as_ref()).unwrap();
    }
    all
}

fn encoded(ids: &ObjectIds) -> Vec<u8> {
    ids.to_bytes(0..ids.len())
}

fn uuid(number: u128) -> String {
    // Spreads the numbers over all bits.
    Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_string()
}

const UUID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// Ids that are easily mistaken for something else.
fn odd() -> Vec<String> {
    let mut odd = vec![
        UUID.to_uppercase(),
        UUID.replace("e8", "E8"),
        UUID.replace('-', ""),
        UUID.replace('-', "_"),
        // As long as a UUID's text.
        format!("{}{}{}", &UUID[..8], &UUID[9..], '0'),
        format!("{}-", &UUID[..35]),
        UUID.replace('8', "g"),
        "日本語日本語日本語日本語".to_owned(),
        format!("{{{UUID}}}"),
        format!("urn:uuid:{UUID}"),
        format!(" {UUID}"),
        Uuid::nil().to_string(),
        Uuid::max().to_string(),
        "0".to_owned(),
        " ".to_owned(),
        "🗑️".to_owned(),
        // Each shares a part of a character with the id before it.
        "é".to_owned(),
        "è".to_owned(),
        "🗑".to_owned(),
        "🗒".to_owned(),
        "x".repeat(1024),
        format!("{}y", "x".repeat(1023)),
        "x".repeat(127),
        "x".repeat(128),
    ];
    odd.extend((998..1003).map(|n| format!("obj-{n}")));
    odd
}

#[test]
fn every_id_comes_back_as_it_was_wherever_it_stands() {
    let odd = odd();
    for rotated in 0..odd.len() {
        let mut names = odd.clone();
        names.rotate_left(rotated);
        // With UUIDs between some of them.
        for at in (0..names.len()).step_by(3).rev() {
            names.insert(at, uuid(at as u128));
        }
        let ids = of(&names);
        for range in [0..names.len(), 1..names.len() - 1, 5..6, 5..17] {
            let back = ObjectIds::from_bytes(&ids.to_bytes(range.clone())).unwrap();
            assert_eq!(back, of(&names[range]));
        }
    }
}

#[test]
fn a_uuid_takes_sixteen_bytes_and_a_chunk_of_them_three_more() {
    assert_eq!(encoded(&of((0..500).map(uuid))).len(), 3 + 500 * 16);
    assert_eq!(encoded(&of([UUID])).len(), 2 + 16);
    // In a sequence of numbers only the last digits take bytes.
    let counted = encoded(&of((1000..1500).map(|n| format!("product-{n}"))));
    assert!(counted.len() < 500 * 5, "{}", counted.len());
}

#[test]
fn a_number_up_to_127_takes_one_byte() {
    for (number, stored) in [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 1])] {
        let mut bytes = Vec::new();
        write_number(&mut bytes, number);
        assert_eq!(bytes, stored);
    }
}

#[test]
fn ids_that_share_nothing_take_a_few_bytes_more_than_they_have() {
    let names: Vec<_> = (0..128)
        .map(|n| format!("{n:04}{}", "x".repeat(1020)))
        .collect();
    let large = of(&names);
    let (bytes, stored) = (MAX_CHUNK_BYTES, encoded(&large));
    assert_eq!(names.concat().len(), bytes);
    assert!(
        (bytes..bytes + 600).contains(&(stored.len() + 512)),
        "{}",
        stored.len()
    );
    assert_eq!(ObjectIds::from_bytes(&stored), Ok(large));
    // UUIDs and other ids in turn are the worst case: each has a header of its own.
    let mixed = of((0..500).map(|n| match n % 2 {
        0 => uuid(n),
        _ => format!("{n}"),
    }));
    let text = mixed.iter().map(str::len).sum::<usize>();
    assert!(encoded(&mixed).len() < text);
}

#[test]
fn what_is_cut_off_or_goes_on_is_no_list_of_ids() {
    let whole = encoded(&of(odd().into_iter().chain((0..9).map(uuid))));
    for end in 0..whole.len() {
        assert_eq!(
            ObjectIds::from_bytes(&whole[..end]),
            Err(Undecodable),
            "{end}"
        );
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(ObjectIds::from_bytes(&longer), Err(Undecodable));
}

#[test]
fn bytes_that_were_damaged_are_refused_or_other_ids_and_never_a_panic() {
    let whole = encoded(&of(odd().into_iter().chain((0..9).map(uuid))));
    for at in 0..whole.len() {
        for byte in [
            0,
            1,
            2,
            3,
            0x7f,
            0x80,
            0xff,
            whole[at] ^ 1,
            whole[at] ^ 0x80,
        ] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            if let Ok(ids) = ObjectIds::from_bytes(&damaged) {
                assert!(ids.len() <= MAX_CHUNK_OBJECTS);
                assert!(ids.text.len() <= MAX_CHUNK_BYTES + MAX_CHUNK_OBJECTS);
            }
        }
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let mut bytes = vec![VERSION];
        bytes.extend((0..random.usize(0..60)).map(|_| random.u8(..) & random.u8(..)));
        let _ = ObjectIds::from_bytes(&bytes);
    }
}

#[test]
fn an_unknown_version_nothing_and_what_a_chunk_cannot_hold_are_refused() {
    let mut other = encoded(&of([UUID]));
    other[0] = 2;
    let no_ids = [VERSION];
    let empty_run = [VERSION, 3];
    let empty_id = [VERSION, 6, 0, 0];
    let control_character = [VERSION, 6, 0, 1, b'\n'];
    let half_a_character = [VERSION, 6, 0, 1, 0xc3];
    let shares_with_nothing = [VERSION, 6, 1, 1, b'a'];
    let huge_run = [VERSION, 0xff, 0xff, 0x7f];
    let endless_number = [VERSION, 0x86, 0x80, 0x80, 0x80, 0x80, 0x00];
    for bytes in [
        &other[..],
        &[],
        &no_ids,
        &empty_run,
        &empty_id,
        &control_character,
        &half_a_character,
        &shares_with_nothing,
        &huge_run,
        &endless_number,
    ] {
        assert_eq!(ObjectIds::from_bytes(bytes), Err(Undecodable), "{bytes:?}");
    }
    let too_many = encoded(&of((0..501).map(uuid)));
    assert_eq!(ObjectIds::from_bytes(&too_many), Err(Undecodable));
    let too_many_in_two_runs = (0..300).map(uuid).chain((0..201).map(|n| n.to_string()));
    let too_many = encoded(&of(too_many_in_two_runs));
    assert_eq!(ObjectIds::from_bytes(&too_many), Err(Undecodable));
    // 500 ids of a kilobyte, in three bytes each.
    let mut bomb = vec![VERSION];
    write_number(&mut bomb, 500 << 2 | 2);
    bomb.extend([0, 0x80, 0x08]);
    bomb.extend([b'x'; 1024]);
    for _ in 1..500 {
        bomb.extend([0x80, 0x08, 0]);
    }
    assert_eq!(ObjectIds::from_bytes(&bomb), Err(Undecodable));
}
