//! Which of a processor's instruction sets matter to inference kernels, and what a backend is called by them.

use std::collections::BTreeSet;

/// What `cpuinfo` calls a set, and what lab calls it; from the narrowest to the widest, per architecture.
///
/// Sources: Linux `arch/x86/include/asm/cpufeatures.h` and `Documentation/arch/arm64/elf_hwcaps.rst` for the left
/// column; the kernels of llama.cpp and gemm for which of them a matrix product chooses by.
const KNOWN: &[(&str, &str)] = &[
    ("sse2", "sse2"),
    ("pni", "sse3"),
    ("ssse3", "ssse3"),
    ("sse4_1", "sse4_1"),
    ("sse4_2", "sse4_2"),
    ("avx", "avx"),
    ("f16c", "f16c"),
    ("fma", "fma"),
    ("bmi2", "bmi2"),
    ("avx2", "avx2"),
    ("avx_vnni", "avx_vnni"),
    ("avx_vnni_int8", "avx_vnni_int8"),
    ("avx512f", "avx512f"),
    ("avx512dq", "avx512dq"),
    ("avx512bw", "avx512bw"),
    ("avx512vl", "avx512vl"),
    ("avx512vbmi", "avx512_vbmi"),
    ("avx512_vnni", "avx512_vnni"),
    ("avx512_bf16", "avx512_bf16"),
    ("avx512_fp16", "avx512_fp16"),
    ("amx_tile", "amx_tile"),
    ("amx_int8", "amx_int8"),
    ("amx_bf16", "amx_bf16"),
    ("amx_fp16", "amx_fp16"),
    ("neon", "neon"),
    ("asimd", "asimd"),
    ("asimdhp", "asimdhp"),
    ("asimddp", "asimddp"),
    ("bf16", "bf16"),
    ("i8mm", "i8mm"),
    ("sve", "sve"),
    ("sve2", "sve2"),
    ("svebf16", "svebf16"),
    ("svei8mm", "svei8mm"),
    ("sme", "sme"),
    ("sme2", "sme2"),
];

/// The set that gives a backend its name, the widest first.
const KINDS: &[(&str, &str)] = &[
    ("avx512f", "cpu_avx512"),
    ("avx2", "cpu_avx2"),
    ("avx", "cpu_avx"),
    ("sse2", "cpu_sse"),
    ("asimd", "cpu_neon"),
    ("neon", "cpu_neon"),
];

/// Returns those of `flags` (as in `cpuinfo`) that matter to inference kernels, under lab's names, from the
/// narrowest to the widest; always in the same order.
pub fn instruction_sets(flags: &BTreeSet<String>) -> Vec<&'static str> {
    KNOWN.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect()
}

/// Returns what a CPU backend that may use `instruction_sets` is called: `cpu_avx512`, `cpu_avx2`, `cpu_avx`,
/// `cpu_sse`, `cpu_neon`, or plain `cpu`.
///
/// The name states the widest set that the engine is *permitted* to use, not what it chose: pass the sets that
/// remain after the harness took some away.
pub fn backend_kind<S: AsRef<str>>(instruction_sets: &[S]) -> &'static str {
    let permitted = |set: &str| instruction_sets.iter().any(|permitted| permitted.as_ref() == set);
    KINDS.iter().find(|(set, _)| permitted(set)).map_or("cpu", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_sets_come_in_one_order_whatever_the_order_of_the_flags() {
        let one = instruction_sets(&flags("avx2 fpu pni avx sse2 fma avx512_vnni avx512f"));
        let two = instruction_sets(&flags("avx512f avx512_vnni sse2 pni fma avx fpu avx2"));
        assert_eq!(one, ["sse2", "sse3", "avx", "fma", "avx2", "avx512f", "avx512_vnni"]);
        assert_eq!(one, two);
    }

    #[test]
    fn a_backend_is_named_by_the_widest_set_it_may_use() {
        for (text, kind) in [
            ("sse2 avx avx2 avx512f avx512_vnni amx_int8", "cpu_avx512"),
            ("sse2 avx avx2 avx_vnni", "cpu_avx2"),
            ("sse2 avx f16c", "cpu_avx"),
            ("sse2 pni", "cpu_sse"),
            ("fp asimd asimddp sve", "cpu_neon"),
            ("half thumb neon vfpv4", "cpu_neon"),
            ("rv64 v", "cpu"),
            ("", "cpu"),
        ] {
            assert_eq!(backend_kind(&instruction_sets(&flags(text))), kind, "{text}");
        }
        let after_the_harness_took_one = vec!["avx".to_owned(), "avx2".to_owned()];
        assert_eq!(backend_kind(&after_the_harness_took_one), "cpu_avx2");
    }

    #[test]
    fn every_set_is_known_once_and_every_kind_is_reachable() {
        let names: BTreeSet<_> = KNOWN.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), KNOWN.len());
        for (set, _) in KINDS {
            assert!(names.contains(set), "{set}");
        }
    }
}
