//! Byte-level BPE from both file layouts, chat templates and conversation templates.

use std::collections::BTreeMap;

use juror_lmm::prompt::{expand, internvl_media};
use juror_lmm::template::{ChatTemplate, Message, published};
use juror_lmm::tokenizer::Tokenizer;
use serde::Deserialize;

use crate::support::{folder, json};

const FAMILY: &str = "tokenizer";

#[derive(Deserialize)]
struct Encoding {
    text: String,
    ids: Vec<u32>,
    tokens: Vec<String>,
    decoded: String,
    decoded_without_special: String,
}

#[test]
fn golden_tokenizer_encodings() {
    let folder = folder(FAMILY);
    let rows: Vec<Encoding> = json(&folder.join("encodings.json"));
    assert!(!rows.is_empty());
    for tokenizer in [Tokenizer::open(&folder).unwrap(), Tokenizer::open_pair(&folder).unwrap()] {
        for row in &rows {
            let ids = tokenizer.encode(&row.text).unwrap();
            assert_eq!(ids, row.ids, "{:?}", row.text);
            let tokens: Vec<String> = ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
            assert_eq!(tokens, row.tokens, "{:?}", row.text);
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), row.decoded);
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), row.decoded_without_special);
            let mut stream = tokenizer.stream();
            let streamed: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
            assert_eq!(streamed, row.decoded_without_special);
        }
    }
}

#[derive(Deserialize)]
struct Prompts {
    templates: BTreeMap<String, String>,
    dialogues: BTreeMap<String, Vec<Message>>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    style: String,
    dialogue: String,
    options: BTreeMap<String, bool>,
    prompt: String,
    question: Option<String>,
    before_expansion: Option<String>,
    ids: Vec<u32>,
}

#[test]
fn golden_tokenizer_chat_templates() {
    let folder = folder(FAMILY);
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let prompts: Prompts = json(&folder.join("prompts.json"));
    let ours = |style: &str| match style {
        "qwen2_5_vl" => published::QWEN2_5_VL,
        "llava_onevision" => published::LLAVA_ONEVISION,
        "internvl3-hf" => published::INTERNVL_HF,
        other => panic!("no template for {other}"),
    };
    let mut seen = 0;
    for row in &prompts.rows {
        let Some(stored) = prompts.templates.get(&row.style) else { continue };
        let flags: Vec<(&str, bool)> = row.options.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        for source in [stored.as_str(), ours(&row.style)] {
            let template = ChatTemplate::new(source).unwrap();
            let prompt = template.render_with(&prompts.dialogues[&row.dialogue], true, &flags).unwrap();
            assert_eq!(prompt, row.prompt, "{} {}", row.style, row.dialogue);
            assert_eq!(tokenizer.encode(&prompt).unwrap(), row.ids);
        }
        seen += 1;
    }
    assert!(seen > 0);
    // The folder's own template is the one of Qwen2.5-VL.
    let own = ChatTemplate::open(&folder).unwrap().unwrap();
    let dialogue = &prompts.dialogues["one_video"];
    let ours = ChatTemplate::new(published::QWEN2_5_VL).unwrap();
    assert_eq!(own.render(dialogue, true).unwrap(), ours.render(dialogue, true).unwrap());
}

#[test]
fn golden_tokenizer_conversation_templates() {
    let folder = folder(FAMILY);
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let prompts: Prompts = json(&folder.join("prompts.json"));
    let mut seen = 0;
    for row in &prompts.rows {
        let source = match row.style.strip_prefix("InternVL conversation template ") {
            Some("internvl2_5") => published::INTERNVL2_5,
            Some("Hermes-2") => published::HERMES_2,
            Some(other) => panic!("no template for {other}"),
            None => continue,
        };
        let template = ChatTemplate::new(source).unwrap();
        let prompt = match (&row.question, &row.before_expansion) {
            (Some(question), Some(before)) => {
                let text = template.render(&[Message::user(question)], true).unwrap();
                assert_eq!(&text, before);
                // Three frames of four tokens, and the motion slot of one.
                let frames = before.matches("Frame").count();
                let per_frame = row.prompt.matches("<IMG_CONTEXT>").count() / frames;
                let mut media = vec![internvl_media(per_frame); frames];
                media.push(internvl_media(1));
                expand(&text, "<image>", &media).unwrap()
            }
            _ => {
                let turns = [
                    Message::system("You rate videos."),
                    Message::user("<image>\nScore?"),
                    Message::assistant("3.50"),
                    Message::user("Why?"),
                ];
                template.render(&turns, true).unwrap()
            }
        };
        assert_eq!(prompt, row.prompt, "{} {}", row.style, row.dialogue);
        assert_eq!(tokenizer.encode(&prompt).unwrap(), row.ids);
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn what_a_tokenizer_or_template_lacks_is_named() {
    let folder = folder(FAMILY);
    let tokenizer = Tokenizer::open(&folder).unwrap();
    assert!(tokenizer.id("<IMG_CONTEXT>").is_ok());
    assert!(tokenizer.id("<margin>").unwrap_err().to_string().contains("<margin>"));
    assert!(tokenizer.word("several tokens here").is_err());
    let broken = ChatTemplate::new("{% for m in messages %}\n{{ m.role }").unwrap_err().to_string();
    assert!(broken.contains("line 2"), "{broken}");
    let raising = ChatTemplate::new("{{ raise_exception('roles must alternate') }}").unwrap();
    assert!(raising.render(&[], true).unwrap_err().to_string().contains("roles must alternate"));
    assert!(expand("a <image> b", "<image>", &[]).is_err());
    let methods = ChatTemplate::new("{{ messages[0].content.strip().split('b')[0].upper() }}").unwrap();
    assert_eq!(methods.render(&[Message::user(" abc ")], true).unwrap(), "A");
}
