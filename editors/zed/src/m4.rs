//! Starts the language server of M4 in Zed: the one that the settings name, else `m4ls` on the PATH of the project's shell.
//! A server that merely lies in a project is never started.

use zed_extension_api::settings::LspSettings;
use zed_extension_api::{
    register_extension, serde_json, Command, Extension, LanguageServerId, Result, Worktree,
};

struct M4;

impl Extension for M4 {
    fn new() -> Self {
        M4
    }

    fn language_server_command(
        &mut self,
        server: &LanguageServerId,
        worktree: &Worktree,
    ) -> Result<Command> {
        let named = LspSettings::for_worktree(server.as_ref(), worktree)
            .ok()
            .and_then(|settings| settings.binary);
        let args = named
            .as_ref()
            .and_then(|binary| binary.arguments.clone())
            .unwrap_or_default();
        let command = named
            .and_then(|binary| binary.path)
            .or_else(|| worktree.which("m4ls"))
            .ok_or("m4ls is not on the PATH: `pip install xmesh` brings it, or set lsp.m4ls.binary.path")?;
        Ok(Command {
            command,
            args,
            env: worktree.shell_env(),
        })
    }

    fn language_server_initialization_options(
        &mut self,
        server: &LanguageServerId,
        worktree: &Worktree,
    ) -> Result<Option<serde_json::Value>> {
        let settings = LspSettings::for_worktree(server.as_ref(), worktree)?;
        Ok(settings.initialization_options)
    }
}

register_extension!(M4);
