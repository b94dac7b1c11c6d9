//! The 16550 at COM1: polled output, input by interrupt.

use rt::ports::Com1;

const DATA: Com1 = Com1::register(0);
const INTERRUPT_ENABLE: Com1 = Com1::register(1);
const FIFO_CONTROL: Com1 = Com1::register(2);
const MODEM_CONTROL: Com1 = Com1::register(4);
const LINE_STATUS: Com1 = Com1::register(5);

/// Line status: a byte was received.
const RECEIVED: u8 = 1;
/// Line status: the transmit FIFO is empty.
const TRANSMIT_EMPTY: u8 = 0x20;
/// Bytes the transmit FIFO takes once it is empty.
const FIFO_LEN: usize = 16;

/// The device. Speed and format are as the kernel set them.
pub struct Uart(());

impl Uart {
    pub fn new() -> Uart {
        // FIFOs on without clearing them. An interrupt comes at 14 bytes, or a
        // moment after fewer: the device takes as many at a time from outside.
        FIFO_CONTROL.set(0xc1);
        // DTR, RTS, and OUT2, which lets interrupts through.
        MODEM_CONTROL.set(0x0b);
        let uart = Uart(());
        uart.listen(Listen::On);
        uart
    }

    /// Switches receive interrupts. Switching them on while a byte waits gives
    /// one at once.
    pub fn listen(&self, listen: Listen) {
        INTERRUPT_ENABLE.set(listen as u8);
    }

    pub fn receive(&self) -> Option<u8> {
        (LINE_STATUS.get() & RECEIVED != 0).then(|| DATA.get())
    }

    pub fn transmit(&self, bytes: &[u8]) {
        for burst in bytes.chunks(FIFO_LEN) {
            while LINE_STATUS.get() & TRANSMIT_EMPTY == 0 {
                core::hint::spin_loop();
            }
            burst.iter().for_each(|byte| DATA.set(*byte));
        }
    }

    /// Output of text: a newline becomes carriage return and newline.
    pub fn transmit_text(&self, text: &[u8]) {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(body) => {
                    self.transmit(body);
                    self.transmit(b"\r\n");
                }
                None => self.transmit(line),
            }
        }
    }
}

/// Receive interrupts.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Listen {
    Off = 0,
    On = 1,
}
