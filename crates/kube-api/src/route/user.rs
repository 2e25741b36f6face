//! Who asks: by certificate, by token, or in the name of another.

use hyper::{HeaderMap, header::AUTHORIZATION};

use crate::{
    auth::{AUTHENTICATED, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED, User, certificate::Shown, token::ISSUER},
    server::Server,
    status::Failure,
    subresource::token,
};

/// Who asks. Who shows something that does not hold is refused, not taken for nobody.
pub fn identify(server: &Server, certificate: Shown, headers: &HeaderMap) -> Result<User, Failure> {
    let user = match (certificate, headers.get(AUTHORIZATION)) {
        (Shown::Holds(user), _) => user,
        (Shown::DoesNotHold, None) => return Err(Failure::unauthorized()),
        (Shown::Nothing, None) => User::anonymous(),
        (Shown::Nothing | Shown::DoesNotHold, Some(shown)) => {
            let token = shown.to_str().ok().and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default();
            token::holder(server, token.trim(), &[ISSUER]).ok_or_else(Failure::unauthorized)?
        }
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(name) = text("impersonate-user") else { return Ok(user) };
    if !user.is_in(MASTERS) {
        let message = format!(
            "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            user.name
        );
        return Err(Failure::forbidden(None, name, message));
    }
    let groups = headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok());
    let uid = text("impersonate-uid").unwrap_or_default();
    Ok(in_the_name_of(name, uid, groups.map(str::to_owned).collect()))
}

/// Another user. Of a service account it is known in which groups it is.
fn in_the_name_of(name: &str, uid: &str, groups: Vec<String>) -> User {
    let mut user = User { name: name.to_owned(), uid: uid.to_owned(), groups, ..User::default() };
    if let (true, Some((namespace, _))) = (user.groups.is_empty(), user.service_account()) {
        user.groups = vec![SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")];
    }
    let known = if user.name == User::anonymous().name { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.is_in(known) {
        user.groups.push(known.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_another() {
        let check = |name: &str, asked: &[&str], expected: &[&str]| {
            let groups = asked.iter().map(|group| (*group).to_owned()).collect();
            assert_eq!(in_the_name_of(name, "", groups).groups, expected, "{name}");
        };
        check("joe", &["a"], &["a", "system:authenticated"]);
        let account = ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"];
        check("system:serviceaccount:shop:web", &[], &account);
        check("system:serviceaccount:shop:web", &["a"], &["a", "system:authenticated"]);
        check("system:anonymous", &[], &["system:unauthenticated"]);
    }
}
