using System.Diagnostics;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Dashboard;

/// <summary>What a build of the server says of the dashboard when it cannot build it. Only those targets run: the server itself is not built again.</summary>
public sealed class DashboardBuildTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("sagas-no-node-").FullName;

    [Fact]
    public async Task Without_Node_the_build_succeeds_and_says_what_is_missing()
    {
        var (code, output) = await BuildAsync();
        code.ShouldBe(0, output);
        output.ShouldContain("The dashboard is not built: Node 20.19 or later is not on the PATH. The API works without it; install Node and build again to have the dashboard.");
        output.ShouldNotContain("warning");
    }

    [Fact]
    public async Task With_an_old_Node_it_says_the_same()
    {
        Program("node", "exit 1");
        var (code, output) = await BuildAsync();
        code.ShouldBe(0, output);
        output.ShouldContain("The dashboard is not built: Node 20.19 or later is not on the PATH.");
    }

    [Fact]
    public async Task Where_npm_cannot_install_the_build_succeeds_and_says_how_to_do_it_later()
    {
        Program("node", "exit 0");
        Program("npm", "echo no registry >&2; exit 7");
        var (code, output) = await BuildAsync();
        code.ShouldBe(0, output);
        output.ShouldContain("The dashboard is not built: npm could not install its packages (exit code 7, see above). The API works without it; run 'npm ci' in dashboards/web where the registry can be reached.");
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private async Task<(int Code, string Output)> BuildAsync()
    {
        var web = Directory.CreateDirectory(Path.Combine(_directory, "web")).FullName + Path.DirectorySeparatorChar;
        foreach (var file in (string[])["package.json", "package-lock.json", "index.html"]) await File.WriteAllTextAsync(web + file, "{}");
        var start = new ProcessStartInfo(Environment.ProcessPath is { } self && Path.GetFileNameWithoutExtension(self) == "dotnet" ? self : "dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["msbuild", Path.Combine(LayoutTests.Root, "src", "Sagas.AspNetCore", "Sagas.AspNetCore.csproj"), "-t:EmbedDashboard", $"-p:DashboardFolder={web}", "-p:SkipDashboard=false", "-nologo", "-nodeReuse:false"])
            start.ArgumentList.Add(argument);
        // A shell is all that there is beside what this test puts there.
        foreach (var name in (string[])["sh", "cat", "uname", "touch"]) Link(name);
        start.Environment["PATH"] = _directory;
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        using var build = Process.Start(start)!;
        var error = build.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = await build.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await build.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (build.ExitCode, output + await error);
    }

    private void Link(string name)
    {
        if (((string[])["/bin", "/usr/bin"]).Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists) is { } found && !File.Exists(Path.Combine(_directory, name)))
            File.CreateSymbolicLink(Path.Combine(_directory, name), found);
    }

    private void Program(string name, string script)
    {
        var path = Path.Combine(_directory, name);
        File.WriteAllText(path, $"#!/bin/sh\n{script}\n");
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }
}
