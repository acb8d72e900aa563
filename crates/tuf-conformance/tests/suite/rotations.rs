//! New keys for a role: who must have signed what.

use crate::key_changes::{Accepted, OTHERS, ROOTS, Step};
use crate::repository::Repository;
use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_root_rotation in ROOTS,
    test_non_root_rotations in OTHERS,
}

fn test_root_rotation(stage: &mut Stage, &(_, steps, accepted): &(&str, &[Step], Accepted)) {
    let mut stage = stage.anew_unpublished();
    for step in steps {
        set(&mut stage.repository, "root", step);
        stage.repository.publish_root();
    }
    stage.repository.publish_all();
    stage.init();
    let trusted = if accepted {
        stage.refreshes();
        steps.len()
    } else {
        stage.fails_to_refresh("valid signatures of role root");
        steps.len() - 1
    };
    let published = &stage.repository.files[&format!("{trusted}.root.json")];
    assert_eq!(stage.held("root").as_ref(), Some(published));
}

/// The same new keys for one role after another: from the first refusal on, all is refused.
fn test_non_root_rotations(stage: &mut Stage, (_, step, accepted): &(&str, Step, Accepted)) {
    stage.init();
    for role in ["timestamp", "snapshot", "targets"] {
        set(&mut stage.repository, role, step);
        stage.repository.publish_root();
        stage.repository.publish_all();
        if *accepted {
            stage.refreshes();
            assert_eq!(stage.held(role).unwrap(), stage.newest(role), "{role}");
        } else {
            stage.fails_to_refresh("valid signatures of role timestamp");
            assert_eq!(stage.version(role), None, "{role}");
        }
    }
}

fn set(repository: &mut Repository, role: &str, (keys, threshold, signers): &Step) {
    let key = |number: &u8| Key::ed25519(50 + number);
    repository.set_keys(role, *threshold, keys.iter().map(key).collect());
    let signers = signers.iter().map(key).collect();
    repository.signers.insert(role.into(), signers);
}
