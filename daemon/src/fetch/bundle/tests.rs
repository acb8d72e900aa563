//! Bundles from memory.

use super::*;

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Bundle, BundleError> {
    Bundle::open("stick", Box::new(io::Cursor::new(bytes)))
}

const FILES: [(&str, &[u8]); 6] = [
    ("metadata/1.root.json", b"root"),
    ("targets/releases/kiosk/2/ab.release.json", b"{}"),
    ("content/aa/list", b"list"),
    ("content/bb/delta", &[7; 3000]),
    ("content/cc/large", &[8; 2 << 20]),
    ("content/dd/pack", &[9; 5000]),
];

fn all(mut stream: Box<dyn Read + Send>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn gives_its_files_in_order_and_what_is_small_again() {
    let bundle = open(archive(&FILES)).unwrap();
    let (product, version) = bundle.release().unwrap();
    assert_eq!((product.as_str(), version.as_str()), ("kiosk", "2"));
    assert_eq!(bundle.file("metadata/1.root.json", 10).unwrap(), b"root");
    for missing in ["metadata/2.root.json", "targets/other"] {
        let error = bundle.file(missing, 10).unwrap_err();
        assert!(matches!(error, FetchError::Missing { .. }), "{error}");
    }
    assert_eq!(
        all(bundle.stream("content/bb/delta", 10).unwrap()),
        [7; 2990]
    );
    // Passed over on the way, and kept.
    assert_eq!(bundle.file("content/aa/list", 10).unwrap(), b"list");
    assert_eq!(all(bundle.stream("content/dd/pack", 0).unwrap()), [9; 5000]);
    let error = bundle.stream("content/cc/large", 0).err().unwrap();
    assert!(matches!(error, FetchError::Missing { .. }), "{error}");
}

#[test]
fn older_stream_ends_when_another_file_is_read() {
    let bundle = open(archive(&FILES)).unwrap();
    let mut first = bundle.stream("content/bb/delta", 0).unwrap();
    assert_eq!(first.read(&mut [0; 10]).unwrap(), 10);
    let second = bundle.stream("content/dd/pack", 4000).unwrap();
    assert_eq!(first.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(all(second), [9; 1000]);
}

#[test]
fn limits_hold_and_foreign_files_are_named() {
    let bundle = open(archive(&FILES)).unwrap();
    let error = bundle.file("content/aa/list", 3).unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
    let long = vec![0; 9 << 20];
    for (bytes, part) in [
        (b"just some text, long enough".repeat(40), "checksum"),
        (archive(&[("metadata/x", &long)]), "too much comes before"),
        (archive(&[]), "holds no metadata"),
    ] {
        let error = open(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let truncated = archive(&FILES)[..3000].to_vec();
    assert!(open(truncated).is_ok());
    assert!(open(archive(&FILES)[..700].to_vec()).is_err());
    let two = [
        ("targets/releases/kiosk/2/a.release.json", b"x".as_slice()),
        ("targets/releases/kiosk/3/a.release.json", b"x"),
    ];
    let error = open(archive(&two)).unwrap().release().unwrap_err();
    assert!(error.to_string().contains("several"), "{error}");
}

#[test]
fn every_damaged_byte_of_a_header_is_noticed_or_harmless() {
    let whole = archive(&FILES[..3]);
    for at in 0..BLOCK {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x11;
        if let Ok(bundle) = open(bytes) {
            // The magic and the version are not under the checksum's rule of every reader.
            assert!(bundle.files.len() <= 2, "byte {at}");
        }
    }
}

#[test]
fn what_it_does_not_list_is_not_looked_for() {
    let mut files = FILES.to_vec();
    let list = b"content/aa/list\ncontent/cc/large\n";
    files.insert(0, ("bundle/content", list));
    let bundle = open(archive(&files)).unwrap();
    assert_eq!(bundle.release().unwrap().1.as_str(), "2");
    for missing in ["content/ee/delta", "content/bb/delta"] {
        let error = bundle.stream(missing, 0).err().unwrap();
        assert!(matches!(error, FetchError::Missing { .. }), "{error}");
        let error = bundle.file(missing, 10).unwrap_err();
        assert!(matches!(error, FetchError::Missing { .. }), "{error}");
    }
    assert_eq!(
        all(bundle.stream("content/cc/large", 1).unwrap()).len(),
        (2 << 20) - 1
    );
}
