use burn_compress::graph::integer::IntegerModel;
fn main() {
    for path in std::env::args().skip(1) {
        let old = std::fs::read(&path).unwrap();
        let model = IntegerModel::from_bytes(&old).unwrap();
        let bytes = model.to_bytes().unwrap();
        let again = IntegerModel::from_bytes(&bytes).unwrap();
        assert!(again == model);
        println!("{path}: {} -> {} bytes", old.len(), bytes.len());
        std::fs::write("/tmp/filework/new.bcm", &bytes).unwrap();
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        println!("{}", String::from_utf8_lossy(&bytes[8..8 + n]));
    }
}
