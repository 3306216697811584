//! Packets of MQTT 3.1.1 as bytes (sections 2 and 3): those that a client sends, and those that it is sent.

/// Keeps a connection alive (section 3.12).
pub(crate) const PING: [u8; 2] = [0xc0, 0];
/// Ends a connection in order (section 3.14).
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];
/// The longest packet behind its fixed header: four bytes of seven bits (section 2.2.3).
pub(crate) const LONGEST: usize = 268_435_455;
/// The answer to a connection behind its fixed header (section 3.2.2): nothing longer may come before it.
pub(crate) const LONGEST_ANSWER: usize = 2;

/// What a broker sends that it may not send: it speaks no MQTT 3.1.1, or is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

/// A packet that a broker sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Answers a connection; 0 accepts it.
    ConnAck { session_present: bool, code: u8 },
    /// A message.
    Publish(Published),
    /// The broker has a message.
    PubAck(u16),
    /// Answers a subscription; 0x80 refuses it.
    SubAck { code: u8 },
    /// Answers a ping.
    PingResp,
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// What it is acknowledged by; none for QoS 0.
    pub(crate) packet: Option<u16>,
    pub(crate) is_retained: bool,
    pub(crate) is_repeated: bool,
}

/// What a client says of itself (section 3.1).
#[derive(Clone, Copy)]
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    /// Name and password.
    pub(crate) credentials: Option<(&'a str, &'a [u8])>,
    /// Whether the broker is to forget what it knows of this client.
    pub(crate) clean: bool,
    /// In seconds.
    pub(crate) keep_alive: u16,
}

impl Connect<'_> {
    /// Returns the packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = if self.clean { 0x02 } else { 0 };
        let mut body = Vec::new();
        put(&mut body, self.client_id.as_bytes());
        if let Some((name, password)) = self.credentials {
            flags |= 0x80 | 0x40;
            put(&mut body, name.as_bytes());
            put(&mut body, password);
        }
        let mut head = Vec::new();
        put(&mut head, b"MQTT");
        head.extend([4, flags]);
        head.extend(self.keep_alive.to_be_bytes());
        packet(0x10, &[&head, &body])
    }
}

/// Returns a packet that publishes with QoS 1 (section 3.3), or nothing for a payload that no packet can hold.
pub(crate) fn publish(topic: &str, payload: &[u8], number: u16) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    put(&mut head, topic.as_bytes());
    head.extend(number.to_be_bytes());
    (head.len() + payload.len() <= LONGEST).then(|| packet(0x32, &[&head, payload]))
}

/// Returns a packet that subscribes to one filter with QoS 1 (section 3.8).
pub(crate) fn subscribe(filter: &str, number: u16) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    put(&mut body, filter.as_bytes());
    body.push(1);
    packet(0x82, &[&body])
}

/// Returns a packet that acknowledges a message of QoS 1 (section 3.4).
pub(crate) fn acknowledge(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0x40, 2, high, low]
}

/// Writes bytes with their length in front (section 1.5.3).
fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("whoever takes names and topics in refuses longer ones");
    body.extend(length.to_be_bytes());
    body.extend_from_slice(bytes);
}

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    let mut packet = vec![kind];
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    parts.iter().for_each(|part| packet.extend_from_slice(part));
    packet
}

/// Takes the first packet out of what was received; nothing while it is not whole. `longest` bounds what it has behind its
/// fixed header: one that announces more is refused before it has come.
///
/// # Errors
///
/// When no broker sends such bytes. What is received after that means nothing.
pub(crate) fn take(received: &mut Vec<u8>, longest: usize) -> Result<Option<Incoming>, Violation> {
    let Some((start, length)) = length_of(received)? else { return Ok(None) };
    if length > longest {
        return Err(Violation("its first packet is longer than the answer to a connection"));
    }
    let end = start + length;
    if received.len() < end {
        return Ok(None);
    }
    let packet = read(received[0], &received[start..end])?;
    received.drain(..end);
    Ok(Some(packet))
}

/// Returns where the first packet's body begins and how long it is; nothing while that is not known.
fn length_of(received: &[u8]) -> Result<Option<(usize, usize)>, Violation> {
    let mut length = 0;
    for place in 0..4 {
        let Some(byte) = received.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + place, length)));
        }
    }
    Err(Violation("the length of a packet has more than four bytes"))
}

fn read(head: u8, body: &[u8]) -> Result<Incoming, Violation> {
    let mut fields = Fields { rest: body };
    match head {
        0x20 => match body {
            [flags @ (0 | 1), code] => Ok(Incoming::ConnAck { session_present: *flags == 1, code: *code }),
            _ => Err(Violation(
                "the answer to a connection has other than two bytes, or flags that mean nothing",
            )),
        },
        0x30..=0x3f => read_message(head, fields).map(Incoming::Publish),
        0x40 => Ok(Incoming::PubAck(fields.number()?)),
        0x90 => match body {
            [_, _, code] => Ok(Incoming::SubAck { code: *code }),
            _ => Err(Violation("the answer to a subscription has other than three bytes")),
        },
        0xd0 => Ok(Incoming::PingResp),
        _ => Err(Violation("a packet came that a broker does not send to this client")),
    }
}

fn read_message(head: u8, mut fields: Fields<'_>) -> Result<Published, Violation> {
    let topic = fields.text()?.to_owned();
    let packet = match head & 0x06 {
        0x00 => None,
        0x02 => Some(fields.number()?),
        _ => return Err(Violation("a message came with a quality of service that was not subscribed to")),
    };
    Ok(Published {
        topic,
        payload: fields.rest.to_vec(),
        packet,
        is_retained: head & 0x01 != 0,
        is_repeated: head & 0x08 != 0,
    })
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], Violation> {
        let (own, rest) = self.rest.split_at_checked(n).ok_or(Violation("a packet ends inside a field"))?;
        self.rest = rest;
        Ok(own)
    }

    fn number(&mut self) -> Result<u16, Violation> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn text(&mut self) -> Result<&'a str, Violation> {
        let length = self.number()?;
        let bytes = self.bytes(usize::from(length))?;
        std::str::from_utf8(bytes).map_err(|_| Violation("a topic is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_asked_for_as_the_standard_writes_it() {
        let connect = Connect { client_id: "lab", credentials: None, clean: false, keep_alive: 30 };
        assert_eq!(connect.bytes(), b"\x10\x0f\0\x04MQTT\x04\x00\0\x1e\0\x03lab");
        let connect = Connect { credentials: Some(("me", b"pw")), clean: true, ..connect };
        assert_eq!(connect.bytes(), b"\x10\x17\0\x04MQTT\x04\xc2\0\x1e\0\x03lab\0\x02me\0\x02pw");
    }

    #[test]
    fn what_a_client_sends_is_as_the_standard_writes_it() {
        assert_eq!(publish("a/b", b"hi", 10).unwrap(), b"\x32\x09\0\x03a/b\0\x0ahi");
        assert_eq!(subscribe("a/+", 258), b"\x82\x08\x01\x02\0\x03a/+\x01");
        assert_eq!(acknowledge(258), *b"\x40\x02\x01\x02");
        assert!(publish("a", &vec![0; LONGEST], 1).is_none());
    }

    #[test]
    fn lengths_are_written_and_read_at_the_ends_of_their_bytes() {
        // Section 2.2.3, table 2.4; five bytes of each packet are topic and number.
        for (payload, head) in [(122, 2), (123, 3), (16_378, 3), (16_379, 4), (2_097_146, 4), (2_097_147, 5)]
        {
            let mut bytes = publish("a", &vec![7; payload], 1).unwrap();
            assert_eq!(bytes.len(), head + 5 + payload);
            let Ok(Some(Incoming::Publish(message))) = take(&mut bytes, LONGEST) else { panic!("{payload}") };
            assert_eq!((message.payload.len(), message.packet), (payload, Some(1)));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn packets_are_taken_one_by_one_and_only_whole() {
        let mut all = b"\x20\x02\x01\x00".to_vec();
        all.extend(b"\x90\x03\0\x01\x01");
        all.extend(b"\x3b\x06\0\x01a\0\x09x");
        all.extend(b"\x40\x02\0\x09\xd0\0");
        let message = Published {
            topic: "a".to_owned(),
            payload: b"x".to_vec(),
            packet: Some(9),
            is_retained: true,
            is_repeated: true,
        };
        let expected = [
            Incoming::ConnAck { session_present: true, code: 0 },
            Incoming::SubAck { code: 1 },
            Incoming::Publish(message),
            Incoming::PubAck(9),
            Incoming::PingResp,
        ];
        let (mut received, mut taken) = (Vec::new(), Vec::new());
        for byte in all {
            received.push(byte);
            taken.extend(take(&mut received, LONGEST).unwrap());
        }
        assert_eq!(taken, expected);
        assert!(received.is_empty());
    }

    #[test]
    fn bytes_that_no_broker_sends_are_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\x20\xff\xff\xff\xff\x01",
            b"\x20\x03\0\0\0",
            b"\x20\x02\x02\0",
            b"\x34\x05\0\x01a\0\x01",
            b"\x32\x02\0\x05",
            b"\x32\x03\0\x01\xff",
            b"\x40\x01\0",
            b"\x10\x00",
        ] {
            let mut received = bytes.to_vec();
            // A length that is read out of other words may promise more than there is.
            received.resize(received.len() + 200, 0);
            assert!(take(&mut received, LONGEST).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_packet_that_announces_more_than_may_come_is_refused_before_it_comes() {
        // The head of a message of 256 MiB.
        let mut head = b"\x30\xff\xff\xff\x7f".to_vec();
        assert!(take(&mut head.clone(), LONGEST_ANSWER).is_err());
        assert_eq!(take(&mut head, LONGEST), Ok(None));
        let answer = Incoming::ConnAck { session_present: false, code: 0 };
        assert_eq!(take(&mut b"\x20\x02\0\0".to_vec(), LONGEST_ANSWER), Ok(Some(answer)));
        assert!(take(&mut b"\x20\x03\0\0\0".to_vec(), LONGEST_ANSWER).is_err());
    }
}
