//! Temporary driver.
fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let config = juror_train::config::SftConfig::read(path.as_ref())?;
    let folder = juror_train::sft::run(&config)?;
    eprintln!("{}", folder.display());
    Ok(())
}
