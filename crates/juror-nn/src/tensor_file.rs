//! Reading and writing tensors by name as safetensors: atomically, in a fixed order, as f32 or f16 on disk.

use crate::{Error, Result};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The one metadata key we write: one key, so that equal states make equal files.
const METADATA_KEY: &str = "juror";

/// Tensors by name and a JSON string.
pub(crate) struct TensorFile {
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: Option<String>,
}

impl TensorFile {
    pub(crate) fn parse(bytes: &[u8], path: &Path, device: &Device) -> Result<Self> {
        let broken = |error: safetensors::SafeTensorError| Error::Format {
            what: format!("no readable safetensors file ({error})"),
            path: path.to_owned(),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let metadata = header.metadata().as_ref().and_then(|map| map.get(METADATA_KEY).cloned());
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            tensors.insert(name.to_owned(), view.load(device)?);
        }
        Ok(Self { tensors, metadata })
    }

    pub(crate) fn read(path: &Path, device: &Device) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::parse(&bytes, path, device)
    }

    /// Writes beside `path`, flushes to disk, then renames: readers see the old file or the new one, never half.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let metadata = self.metadata.clone().map(|json| HashMap::from([(METADATA_KEY.to_owned(), json)]));
        let temporary = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(folder))?.into_temp_path();
        let tensors = self
            .tensors
            .iter()
            .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
            .collect::<Result<Vec<_>>>()?;
        safetensors::serialize_to_file(tensors, metadata, &temporary).map_err(|error| Error::Format {
            what: format!("cannot be written ({error})"),
            path: path.to_owned(),
        })?;
        let file = std::fs::File::open(&temporary).map_err(Error::io(path))?;
        file.sync_all().map_err(Error::io(path))?;
        temporary.persist(path).map_err(|error| Error::Io { source: error.error, path: path.to_owned() })
    }
}

/// Converts every float tensor.
pub(crate) fn cast(tensors: BTreeMap<String, Tensor>, dtype: DType) -> Result<BTreeMap<String, Tensor>> {
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let tensor = if tensor.dtype().is_float() { tensor.to_dtype(dtype)? } else { tensor };
            Ok((name, tensor))
        })
        .collect()
}
