//! Plans for the tests: a tiny synthetic model, the scripted engine, and what each test changes about them.

use toml::{Table, Value};

/// A plan as TOML tables.
#[derive(Clone)]
pub(crate) struct Plan(Table);

impl Plan {
    /// Returns a plan that takes milliseconds: two launches of four tokens on the scripted engine, no warm-up.
    pub(crate) fn scripted() -> Self {
        let text = r#"
            version = 1
            name = "tiny"
            workload = { prompt = { random = 4 }, generate = 4, seed = 1 }
            engine = { name = "scripted", script = { load_us = 100, prefill_us = 200, token_us = 100 } }
            run = { repeat = 2, warmup = 0 }

            [model]
            name = "tiny-synthetic"

            [model.source.synthetic]
            seed = 1
            layers = 1
            embedding = 256
            feed_forward = 256
            heads = 4
            kv_heads = 2
            vocabulary = 512
            context = 512
            rope_base = 10000
            quantization = "q4_k"
        "#;
        Self(text.parse().unwrap())
    }

    /// Returns a plan for experiments: twelve tokens of 2 ms after a prefill of 4, against which what other tests do to this
    /// machine is small. It is admitted, too, or it would leave out turn after turn.
    pub(crate) fn steady() -> Self {
        let busy = ["steal", "run-queue", "other-load"].map(Value::from);
        Self::scripted()
            .set("gate.admit", busy.to_vec())
            .set("engine.script.prefill_us", 4_000)
            .set("engine.script.token_us", 2_000)
            .set("workload.generate", 12)
    }

    /// Returns the same plan for the built-in engine.
    pub(crate) fn candle() -> Self {
        Self::scripted().without("engine")
    }

    /// Sets a key, such as `run.repeat`; tables on the way are made.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
        let parent =
            tables.split('.').filter(|table| !table.is_empty()).fold(&mut self.0, |parent, table| {
                let entry = parent.entry(table).or_insert_with(|| Table::new().into());
                entry.as_table_mut().unwrap()
            });
        parent.insert(name.to_owned(), value.into());
        self
    }

    /// Sets several keys of the scripted engine's script to text.
    pub(crate) fn fault(self, fault: &str) -> Self {
        self.set("engine.script.fault", fault)
    }

    /// Lets the fault strike in one launch alone.
    pub(crate) fn in_launch(self, launch: u32) -> Self {
        self.set("engine.script.fault_launch", launch)
    }

    /// Removes a top-level key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.remove(key).unwrap();
        self
    }

    /// Takes the model from a file.
    pub(crate) fn model_file(self, path: &str) -> Self {
        let mut source = Table::new();
        source.insert("path".to_owned(), path.into());
        self.set("model.name", "mine").set("model.source", source)
    }

    pub(crate) fn text(&self) -> String {
        toml::to_string(&self.0).unwrap()
    }
}
