//! What a connection does when its timers fire.

use super::timers::{Timer, Timers};
use super::{Context, Peer, Phase, settle};
use crate::crypto::Crypto;
use crate::endpoint::DisconnectReason;
use crate::recovery::TimeoutAction;
use crate::time::Instant;

impl<C: Crypto> Peer<C> {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_, C>) {
        while let Some((timer, due)) = self.timers.take_due(context.now) {
            match timer {
                Timer::Idle => self.close(DisconnectReason::TimedOut),
                Timer::Connect => {
                    if self.phase == Phase::Connecting {
                        self.close(DisconnectReason::ConnectTimedOut);
                    }
                }
                Timer::Close => self.on_close_timer(context.now),
                Timer::Handshake => self.on_handshake_timer(context),
                Timer::Recovery => self.on_recovery_timer(context),
                Timer::Ack => self.owed.ack = true,
                Timer::Pace => self.on_pace_timer(context.now, due),
                Timer::KeepAlive => self.owed.ping = true,
                Timer::Path => self.on_path_timer(context),
                Timer::LeavePath => self.give_up_left_path(context),
                Timer::Silence => self.on_silence_timer(context),
                Timer::Refuge => self.on_refuge_timer(context),
                Timer::Measure => self.on_measure_timer(context),
            }
        }
    }

    /// Ends the connection in any case, whether the copies could be sent or not.
    fn on_close_timer(&mut self, now: Instant) {
        let Phase::Closing { reason, copies } = self.phase else { return };
        if copies == 0 {
            self.phase = Phase::Closed;
            self.timers = Timers::default();
        } else {
            self.phase = Phase::Closing { reason, copies: copies - 1 };
            self.owed.disconnect = true;
            self.timers.set(Timer::Close, now + self.goodbye_pause());
        }
    }

    /// There is room again, which the next transmit finds; or an acknowledgement is overdue.
    fn on_pace_timer(&mut self, now: Instant, due: Instant) {
        if let Some(index) = self.paths.active() {
            self.recovery.on_pace_timer(index, now.since(due));
            self.channels.hurry(now, self.overdue(index));
        }
    }

    fn on_recovery_timer(&mut self, context: &mut Context<'_, C>) {
        let Self { recovery, channels, owed, received, mtu, .. } = self;
        let pools = &mut context.pools;
        let action = recovery.on_timeout(context.now, &mut context.sent, &mut |outcome, packet| {
            settle(channels, received, owed, mtu, pools, outcome, packet);
        });
        match action {
            TimeoutAction::None => {}
            TimeoutAction::Probe { path, .. } if Some(path) != self.paths.active() => {
                // Nothing goes this way any more that a probe could help.
                self.abandon_path(context, path);
                return;
            }
            TimeoutAction::Probe { path, count } => {
                // Probes carry the oldest data that is missing, if there is any (RFC 9002 §6.2.4).
                owed.ping = true;
                let frames = recovery.take_oldest_frames(path, &mut context.sent);
                channels.on_lost(pools, frames);
                if self.phase != Phase::Connecting {
                    self.on_unacknowledged(context, count);
                }
            }
        }
        self.set_recovery_timer();
    }
}
