use super::*;
use crate::fixtures::open;
use crate::gguf::{Array, Metadata};

fn strings(texts: &[&str]) -> Value {
    Value::Array(Array::String(texts.iter().map(|text| (*text).to_owned()).collect()))
}

/// `<unk>`, `<s>`, `</s>`, a user-defined token, byte tokens for `é`, and pieces of `▁lab`.
fn sentence_piece() -> Metadata {
    let tokens =
        ["<unk>", "<s>", "</s>", "\n\n", "<0xC3>", "<0xA9>", "▁", "l", "a", "b", "la", "ab", "▁la", "lab"];
    let scores = [0., 0., 0., 0., 0., 0., -9., -9., -9., -9., -2., -1., -3., -4.];
    let types = [2, 3, 3, 4, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1];
    let mut metadata = Metadata::default();
    metadata.set("tokenizer.ggml.model", Value::String("llama".to_owned()));
    metadata.set("tokenizer.ggml.tokens", strings(&tokens));
    metadata.set("tokenizer.ggml.scores", Value::Array(Array::F32(scores.to_vec())));
    metadata.set("tokenizer.ggml.token_type", Value::Array(Array::I32(types.to_vec())));
    metadata.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.set("tokenizer.ggml.eos_token_id", Value::U32(2));
    metadata
}

/// Single bytes of `a b 1 '` and space, and the merges `ab`, `Ġa`, `Ġab`.
fn byte_pair(pre: &str) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.set("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
    metadata.set("tokenizer.ggml.pre", Value::String(pre.to_owned()));
    metadata.set(
        "tokenizer.ggml.tokens",
        strings(&["a", "b", "1", "Ġ", "ab", "Ġa", "Ġab", "<|end|>", "11", "111", "Ġ1"]),
    );
    metadata
        .set("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1])));
    metadata.set("tokenizer.ggml.merges", strings(&["a b", "Ġ a", "Ġ ab", "1 1", "11 1", "Ġ 1"]));
    metadata.set("tokenizer.ggml.bos_token_id", Value::U32(7));
    metadata
}

fn build(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let (_file, gguf) = open(metadata, &[]);
    Tokenizer::from_gguf(&gguf)
}

#[track_caller]
fn check(metadata: &Metadata, text: &str, expected: &[u32]) {
    let tokenizer = build(metadata).unwrap();
    assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
}

#[test]
fn sentence_pieces_merge_by_score_and_fall_back_to_bytes() {
    let metadata = sentence_piece();
    // `ab` has the best score, so `la` never forms; `lab` is then reached from `l` and `ab`.
    check(&metadata, "lab", &[1, 6, 13]);
    check(&metadata, "la", &[1, 12]);
    check(&metadata, "é", &[1, 6, 4, 5]);
    check(&metadata, "", &[1]);
}

#[test]
fn a_space_is_put_before_text_only_after_special_tokens_and_only_where_wanted() {
    let mut metadata = sentence_piece();
    check(&metadata, "a</s>b\n\nb", &[1, 6, 8, 2, 6, 9, 3, 6, 9]);
    metadata.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    metadata.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    metadata.set("tokenizer.ggml.add_eos_token", Value::Bool(true));
    check(&metadata, "a la", &[8, 12, 2]);
}

#[test]
fn digits_and_spaces_split_as_each_pre_tokenizer_says() {
    check(&byte_pair("smollm"), "ab ab 11", &[4, 6, 3, 2, 2]);
    check(&byte_pair("gpt-2"), "ab ab 11", &[4, 6, 3, 8]);
    check(&byte_pair("qwen2"), "ab 11", &[4, 3, 2, 2]);
    // Llama 3 starts with BOS by itself, and takes up to three digits at once.
    check(&byte_pair("llama-bpe"), "ab 1111", &[7, 4, 3, 9, 2]);
    check(&byte_pair("default"), "1111", &[9, 2]);
    check(&byte_pair("smollm"), "  ab<|end|>ab", &[3, 6, 7, 4]);
}

#[test]
fn ids_become_text_again() {
    let tokenizer = build(&byte_pair("smollm")).unwrap();
    assert_eq!(tokenizer.decode(&[4, 6, 3, 2, 7]).unwrap(), "ab ab 1<|end|>");
    let tokenizer = build(&sentence_piece()).unwrap();
    assert_eq!(tokenizer.decode(&[1, 12, 4, 5, 3]).unwrap(), "<s> laé\n\n");
    assert_eq!(tokenizer.decode(&[4]).unwrap(), "\u{fffd}");
    let error = tokenizer.decode(&[14]).unwrap_err().to_string();
    assert_eq!(error, "token 14 does not exist: the vocabulary has 14 tokens");
}

#[test]
fn byte_pairs_drop_bytes_without_a_token_as_llama_cpp_does_and_never_merge_across_them() {
    check(&byte_pair("smollm"), "abc", &[4]);
    check(&byte_pair("smollm"), "acb", &[0, 1]);
    check(&byte_pair("smollm"), "c", &[]);
}

#[test]
fn a_sentence_piece_vocabulary_without_a_byte_refuses_the_text() {
    let error = build(&sentence_piece()).unwrap().encode("x").unwrap_err().to_string();
    assert_eq!(error, "the vocabulary has no token for the byte 0x78");
}

#[test]
fn metadata_that_cannot_be_used_is_named() {
    let bent = |bend: &dyn Fn(&mut Metadata)| {
        let mut metadata = sentence_piece();
        bend(&mut metadata);
        build(&metadata).unwrap_err().to_string()
    };
    let f32s = |values: Vec<f32>| Value::Array(Array::F32(values));
    assert_eq!(
        bent(&|metadata| metadata.set("tokenizer.ggml.model", Value::String("t5".to_owned()))),
        "tokenizer model `t5` is not supported (supported: `gpt2`, `llama`)"
    );
    assert_eq!(
        bent(&|metadata| metadata.set("tokenizer.ggml.scores", f32s(vec![0.0]))),
        "`tokenizer.ggml.scores` has 1 elements, expected 14, one for each token"
    );
    assert_eq!(
        bent(&|metadata| metadata.set("tokenizer.ggml.scores", f32s(vec![f32::NAN; 14]))),
        "the score of token 0 is not a number"
    );
    assert_eq!(
        bent(&|metadata| metadata.set("tokenizer.ggml.bos_token_id", Value::U32(14))),
        "`tokenizer.ggml.bos_token_id` is 14, but the vocabulary has 14 tokens"
    );
    assert_eq!(
        bent(&|metadata| metadata.set("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![7; 14])))),
        "token 0 has type 7, expected 1 to 6"
    );
    assert_eq!(
        build(&byte_pair("deepseek-llm")).unwrap_err().to_string(),
        "pre-tokenizer `deepseek-llm` is not supported (supported: `default`, `gpt-2`, `llama-bpe`, `llama-v3`, \
         `llama3`, `qwen2`, `smollm`)"
    );
    let mut metadata = byte_pair("smollm");
    metadata.set("tokenizer.ggml.merges", strings(&["a b", "ab"]));
    let error = build(&metadata).unwrap_err().to_string();
    assert_eq!(error, "merge 1 is `ab`, expected two parts with a space between them");
}

#[test]
fn the_digest_covers_what_decides_about_ids_and_nothing_else() {
    let plain = digest(&open(&sentence_piece(), &[]).1);
    let mut metadata = Metadata::default();
    metadata.set("tokenizer.chat_template", Value::String("{{ messages }}".to_owned()));
    let original = sentence_piece();
    let mut entries: Vec<_> = original.iter().collect();
    entries.reverse();
    entries.into_iter().for_each(|(key, value)| metadata.set(key, value.clone()));
    assert_eq!(digest(&open(&metadata, &[]).1), plain, "neither order nor template matter");
    metadata.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    assert_ne!(digest(&open(&metadata, &[]).1), plain);
}
