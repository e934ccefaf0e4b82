//! JSON objects of which what is absent is left out.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::StreamAnomalies;

/// The fields of an object, one after another.
pub(super) struct Fields<M>(M);

impl<M: SerializeMap> Fields<M> {
    pub(super) fn begin<S: Serializer<SerializeMap = M, Error = M::Error>>(
        serializer: S,
    ) -> Result<Self, M::Error> {
        serializer.serialize_map(None).map(Self)
    }

    pub(super) fn end(self) -> Result<M::Ok, M::Error> {
        self.0.end()
    }

    pub(super) fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        self.0.serialize_entry(name, value)
    }

    pub(super) fn put_some<T: Serialize>(
        &mut self,
        name: &'static str,
        value: Option<T>,
    ) -> Result<(), M::Error> {
        match value {
            Some(value) => self.put(name, &value),
            None => Ok(()),
        }
    }

    /// Which item something belongs to.
    pub(super) fn put_place(
        &mut self,
        item_id: Option<&str>,
        output_index: Option<u32>,
    ) -> Result<(), M::Error> {
        self.put_some("item_id", item_id)?;
        self.put_some("output_index", output_index)
    }

    pub(super) fn put_anomalies(&mut self, anomalies: &StreamAnomalies) -> Result<(), M::Error> {
        self.put_some("anomalies", (!anomalies.is_empty()).then_some(anomalies))
    }
}
