using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Server;

/// <summary>The standalone host as a process of its own.</summary>
public sealed class ServerTests : IDisposable
{
    private const string Dll = "Sagas.Server.dll", Banner = "Sagas listens at ";
    private readonly string _folder = Directory.CreateTempSubdirectory("server-").FullName;

    [Fact]
    public async Task It_serves_the_API_and_its_documentation_with_the_journal_in_data_and_stops_when_told()
    {
        await using (var server = await RunningProgram.StartAsync(How([], "--urls", "http://127.0.0.1:0"), Banner))
        {
            (await server.Http.GetAsync("/health/ready")).StatusCode.ShouldBe(HttpStatusCode.OK);
            (await server.Http.GetAsync("/swagger")).StatusCode.ShouldBe(HttpStatusCode.OK);
            (await server.Http.GetFromJsonAsync<JsonElement>("/api/v1/sagas")).GetProperty("items").GetArrayLength().ShouldBe(0);
            Directory.EnumerateFileSystemEntries(Path.Combine(_folder, "data")).ShouldNotBeEmpty();
            var (code, output) = await RunningProgram.RunAsync(How([], "--urls", "http://127.0.0.1:0"));
            (code, output.Contains("data' is in use by another process. Stop that process, or give this one a directory of its own.")).ShouldBe((1, true), output);
            (await server.StopAsync()).ShouldBe(0, server.Output);
        }
    }

    [Fact]
    public async Task File_environment_and_command_line_each_go_before_the_one_before()
    {
        File.WriteAllText(Path.Combine(_folder, "appsettings.json"), """{ "urls": "http://127.0.0.1:0", "Sagas": { "Journal": { "Path": "from-file" }, "StuckAfter": 3 } }""");
        await using (var server = await RunningProgram.StartAsync(How([]), Banner)) server.Output.ShouldContain("from-file");
        await using (var server = await RunningProgram.StartAsync(How([("Sagas__Journal__Path", "from-environment")]), Banner)) server.Output.ShouldContain("from-environment");
        await using (var server = await RunningProgram.StartAsync(How([("Sagas__Journal__Path", "from-environment")], "--Sagas:Journal:Path", "from-command-line"), Banner))
            server.Output.ShouldContain("from-command-line");
    }

    [Fact]
    public async Task A_bad_value_ends_the_start_with_a_sentence()
    {
        var (code, output) = await RunningProgram.RunAsync(How([("Sagas__Workers", "many")], "--urls", "http://127.0.0.1:0"));
        code.ShouldBe(1);
        output.Trim().ShouldBe("Sagas cannot start: Sagas:Workers is 'many'. Give a whole number from 1 to 64.");
        Directory.Exists(Path.Combine(_folder, "data")).ShouldBeFalse("nothing was begun");
    }

    [Theory]
    [InlineData("--urls", "http://*:0")]
    [InlineData("--urls", "http://0.0.0.0:0")]
    [InlineData("--urls", "http://[::]:0")]
    [InlineData("--urls", "http://some-name:0")]
    [InlineData("--urls", "http://127.0.0.1:0;http://0.0.0.0:0")]
    [InlineData("--http_ports", "0")]
    [InlineData("--Kestrel:Endpoints:Here:Url", "http://[::]:0")]
    public async Task It_does_not_listen_where_other_machines_reach_it(string setting, string address)
    {
        var (code, output) = await RunningProgram.RunAsync(How([], setting, address));
        code.ShouldBe(1, output);
        output.ShouldContain("is an address that other machines reach, and there is no authentication.");
        output.ShouldContain("Sagas:AllowRemote=true");
        output.ShouldNotContain("   at ");
    }

    [Theory]
    [InlineData("http://localhost:PORT", false)]
    [InlineData("http://[::1]:0", false)]
    [InlineData("http://0.0.0.0:0", true)]
    public async Task It_listens_here_and_elsewhere_when_told_by_name(string url, bool allowed)
    {
        using var free = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        free.Start();
        var port = ((IPEndPoint)free.LocalEndpoint).Port;
        free.Stop();
        await using var server = await RunningProgram.StartAsync(How([], "--urls", url.Replace("PORT", $"{port}"), "--Sagas:AllowRemote", allowed ? "true" : "false"), Banner);
        (await server.Http.GetAsync(allowed ? server.Http.BaseAddress!.ToString().Replace("0.0.0.0", "127.0.0.1") + "health/live" : "/health/live")).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private ProcessStartInfo How((string Name, string Value)[] environment, params string[] arguments)
    {
        var start = RunningProgram.How(Dll, arguments);
        start.WorkingDirectory = _folder;
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return start;
    }
}
