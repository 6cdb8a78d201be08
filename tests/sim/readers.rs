//! Log readers: fast and slow, once and by position, each byte checked.

use std::{rc::Rc, time::Duration};

use towline::{
    hub::{CallMeta, LogQuery, LogViewer},
    wire::{LogOptions, LogPosition},
};

use super::{
    kubelet::Wish,
    rng::Rng,
    site::Text,
    trace::{note, violated},
    world::World,
};

/// Follows the log of a pod. A kubectl reads it once; `towline logs -f` comes back with its position.
pub(crate) async fn follow(world: Rc<World>, wish: Rc<Wish>, rng: Rng) {
    world.reading.set(world.reading.get() + 1);
    read_on(&world, &wish, rng).await;
    world.reading.set(world.reading.get() - 1);
}

async fn read_on(world: &Rc<World>, wish: &Rc<Wish>, mut rng: Rng) {
    world.sleep(rng.millis(0, 30_000)).await;
    let comes_back = rng.one_in(2);
    let slow = rng.one_in(3);
    let mut at: Option<LogPosition> = None;
    while !world.is_over() && !wish.delete_asked.get() {
        let query = LogQuery {
            pod: wish.pod.pod_ref(),
            container: "main".into(),
            options: LogOptions {
                follow: true,
                ..LogOptions::default()
            },
            start: at,
            meta: CallMeta::default(),
        };
        let began = tokio::time::Instant::now();
        let opened = world.http(async |hub| hub.logs(None, query).await).await;
        let took = began.elapsed();
        if took > Duration::from_secs(31) {
            violated("I3", format!("opening the log of {} took {took:?}", wish.name()));
        }
        if let Some(Ok(viewer)) = opened
            && read(world, wish, viewer, &mut at, slow, &mut rng).await
        {
            return;
        }
        if !comes_back {
            return;
        }
        world.sleep(Duration::from_secs(2)).await;
    }
}

/// Reads a log to its end; true when the end was good.
async fn read(
    world: &Rc<World>,
    wish: &Wish,
    mut viewer: LogViewer,
    at: &mut Option<LogPosition>,
    slow: bool,
    rng: &mut Rng,
) -> bool {
    loop {
        if slow && rng.one_in(8) {
            world.sleep(rng.millis(100, 20_000)).await;
        }
        let Some(piece) = world.http(async |_| viewer.next().await).await else {
            return false;
        };
        let piece = match piece {
            Some(Ok(piece)) => piece,
            Some(Err(status)) => {
                note(|| {
                    format!(
                        "log of {} ended: {:?} {}",
                        wish.name(),
                        status.kind(),
                        status.reason
                    )
                });
                return false;
            }
            None => {
                let end = viewer.end().unwrap_or_default();
                let Some(last) = *at else { return true };
                let truth = world.log(wish, last.epoch);
                note(|| format!("log of {} is complete at {last:?}", wish.name()));
                if let (true, Some((len, true))) = (end.eof && last.epoch != 0, truth)
                    && last.offset != len
                {
                    violated(
                        "I2",
                        format!("log of {} ended well at {} of {len}", wish.name(), last.offset),
                    );
                }
                return true;
            }
        };
        if let Some(before) = *at
            && before.epoch != 0
            && piece.gap_bytes == 0
        {
            let same = before.epoch == piece.at.epoch;
            let truth = world.log(wish, before.epoch).map_or(0, |(len, _)| len);
            if same && before.offset != piece.at.offset {
                violated(
                    "I2",
                    format!("log of {}: after {before:?} comes {:?}", wish.name(), piece.at),
                );
            }
            if !same && before.offset != truth {
                violated(
                    "I2",
                    format!(
                        "log of {}: {} of {truth} bytes of epoch {} were lost unmarked",
                        wish.name(),
                        truth - before.offset,
                        before.epoch
                    ),
                );
            }
        }
        if piece.gap_bytes > 0 && at.is_some_and(|before| before.epoch == piece.at.epoch) {
            violated(
                "I2",
                format!(
                    "log of {}: a gap of {} bytes where nothing is missing",
                    wish.name(),
                    piece.gap_bytes
                ),
            );
        }
        let text = Text::of(wish.uid(), piece.at.epoch);
        let wrong = piece
            .data
            .iter()
            .zip(piece.at.offset..)
            .find(|(byte, offset)| **byte != text.at(*offset));
        if let Some((_, offset)) = wrong {
            violated(
                "I2",
                format!(
                    "log of {}: wrong byte at {} of epoch {}",
                    wish.name(),
                    offset,
                    piece.at.epoch
                ),
            );
        }
        *at = Some(LogPosition {
            epoch: piece.at.epoch,
            offset: piece.next_offset,
        });
    }
}
