using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Sagas.Server;
using Sagas.Tests.MassTransit;
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

    [Fact]
    public async Task It_does_not_listen_where_other_machines_reach_it()
    {
        (string, string)[] addresses = [("--urls", "http://*:0"), ("--urls", "http://127.0.0.1:0;http://0.0.0.0:0"), ("--http_ports", "0"), ("--Kestrel:Endpoints:Here:Url", "http://[::]:0")];
        var refusals = addresses.Select((address, i) => RunningProgram.RunAsync(How([], address.Item1, address.Item2, "--Sagas:Journal:Path", $"data-{i}"))).ToArray();
        foreach (var (code, output) in await Task.WhenAll(refusals))
        {
            code.ShouldBe(1, output);
            output.ShouldContain("is an address that other machines reach, and there is no authentication.");
            output.ShouldContain("Sagas:AllowRemote=true");
            output.ShouldNotContain("   at ");
        }
    }

    [Theory]
    [InlineData("127.0.0.1", true)]
    [InlineData("127.8.9.1", true)]
    [InlineData("::1", true)]
    [InlineData("::ffff:127.0.0.1", true)]
    [InlineData("0.0.0.0", false)]
    [InlineData("::", false)]
    [InlineData("192.0.2.1", false)]
    [InlineData("::ffff:192.0.2.1", false)]
    public async Task Only_loopback_addresses_are_bound(string address, bool bound)
    {
        var sockets = new Sockets();
        var bind = async () => await new Loopback(sockets).BindAsync(new IPEndPoint(IPAddress.Parse(address), 0), CancellationToken.None);
        if (bound) await bind();
        else await Should.ThrowAsync<RemoteAddressException>(bind);
        sockets.Bound.ShouldBe(bound ? 1 : 0);
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

    [Fact]
    public async Task It_runs_what_files_and_PUT_bring_and_says_what_it_cannot_reach()
    {
        const string bus = """{ "name": "order", "version": 1, "steps": [ { "name": "stock", "step": { "do": "bus:inventory/reserve" }, "readOnly": true } ] }""";
        const string http = """{ "name": "ping", "version": 1, "steps": [ { "name": "stock", "step": { "do": "http://127.0.0.1:1/" }, "readOnly": true } ] }""";
        File.WriteAllText(Path.Combine(_folder, "order.json"), bus);
        var (code, output) = await RunningProgram.RunAsync(How([("Sagas__Definitions", "order.json")], "--urls", "http://127.0.0.1:0"));
        code.ShouldBe(1);
        output.ShouldContain("order.json: Step 'stock' of 'order' goes to the bus (queue sagas.inventory), and this node has none.");
        File.WriteAllText(Path.Combine(_folder, "ping.json"), http);
        await using var server = await RunningProgram.StartAsync(How([("Sagas__Definitions", "ping.json")], "--urls", "http://127.0.0.1:0"), Banner);
        (await server.Http.GetAsync("/api/v1/definitions/ping")).StatusCode.ShouldBe(HttpStatusCode.OK);
        using var put = await server.Http.PutAsync("/api/v1/definitions/order", new StringContent(bus, Encoding.UTF8, "application/json"));
        put.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        (await put.Content.ReadAsStringAsync()).ShouldContain("goes to the bus (queue sagas.inventory), and this node has none.");
    }

    [Fact]
    public async Task A_participant_that_accepts_calls_back_to_the_address_it_is_told()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        await using var bank = builder.Build();
        var asked = new TaskCompletionSource<(string Callback, string Key)>();
        bank.Run(http =>
        {
            http.Response.StatusCode = 202;
            asked.TrySetResult((http.Request.Headers["Saga-Callback"].ToString(), http.Request.Headers["Idempotency-Key"].ToString()));
            return Task.CompletedTask;
        });
        await bank.StartAsync();
        await using var server = await RunningProgram.StartAsync(How([], "--urls", "http://127.0.0.1:0"), Banner);
        var definition = $$"""{ "name": "credit", "version": 1, "steps": [ { "name": "score", "step": { "do": "{{bank.Urls.First()}}/score" }, "readOnly": true } ], "result": "$.steps.score.result" }""";
        (await server.Http.PutAsync("/api/v1/definitions/credit", new StringContent(definition, Encoding.UTF8, "application/json"))).StatusCode.ShouldBe(HttpStatusCode.Created);
        var saga = server.Http.PostAsJsonAsync("/api/v1/definitions/credit/sagas?id=c1&wait=30", new { name = "Ada" });
        var (callback, key) = await asked.Task;
        key.ShouldBe("c1/score/do");
        (await server.Http.PostAsJsonAsync(callback, new { outcome = "ok", result = new { score = 640 } })).StatusCode.ShouldBe(HttpStatusCode.OK);
        var end = await (await saga).Content.ReadFromJsonAsync<JsonElement>();
        (end.GetProperty("status").GetString(), end.GetProperty("result").GetRawText()).ShouldBe(("Completed", """{"score":640}"""));
    }

    [Fact]
    public async Task With_RabbitMQ_a_definition_in_JSON_reaches_a_participant_in_Node_and_what_nobody_can_read_is_listed_and_replayed()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), $"seats-{Guid.NewGuid():N}"[..20]);
        await using var node = await ServerProcess.StartAsync("node", [Path.Combine(AppContext.BaseDirectory, "participant.mjs"), $"{rabbit.Port}", name], "listening");
        await using var server = await RunningProgram.StartAsync(How([("Sagas__RabbitMq__Url", rabbit.Url)], "--urls", "http://127.0.0.1:0", "--Sagas:Node", name), Banner);
        server.Output.ShouldContain($"; RabbitMQ at {rabbit.Url};");
        var definition = $$"""{ "name": "journey", "version": 1, "steps": [ { "name": "seat", "tcc": { "try": "bus:{{name}}/reserve", "confirm": "bus:{{name}}/reserve", "cancel": "bus:{{name}}/reserve" } } ], "result": "$.steps.seat.result.id" }""";
        (await server.Http.PutAsync("/api/v1/definitions/journey", new StringContent(definition, Encoding.UTF8, "application/json"))).StatusCode.ShouldBe(HttpStatusCode.Created);
        var ended = await (await server.Http.PostAsJsonAsync("/api/v1/definitions/journey/sagas?wait=30", new { flight = "LX8" })).Content.ReadFromJsonAsync<JsonElement>();
        (ended.GetProperty("status").GetString(), ended.GetProperty("result").GetString()).ShouldBe(("Completed", "seat 1"));

        var reason = new { reason = "The sender is mended." };
        await rabbit.SendAsync($"sagas.replies.{name}", "no envelope");
        var letter = await LetterAsync();
        (letter.GetProperty("body").GetString(), letter.GetProperty("bytes").GetInt32()).ShouldBe(("no envelope", 11));
        (await server.Http.GetStringAsync("/metrics")).ShouldContain($"sagas_dead_letters_total{{queue=\"sagas.replies.{name}\"}} 1");
        var replay = $"/api/v1/deadletters/{letter.GetProperty("id").GetString()}/replay";
        (await server.Http.PostAsJsonAsync(replay, new { })).StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        (await server.Http.PostAsJsonAsync(replay, reason)).StatusCode.ShouldBe(HttpStatusCode.Accepted);
        (await server.Http.PostAsJsonAsync(replay, reason)).StatusCode.ShouldBe(HttpStatusCode.NotFound);
        var again = await LetterAsync();      // it is still no envelope
        (await server.Http.PostAsJsonAsync($"/api/v1/deadletters/{again.GetProperty("id").GetString()}/discard", reason)).StatusCode.ShouldBe(HttpStatusCode.Accepted);
        (await OursAsync()).ShouldBeEmpty();

        async Task<JsonElement[]> OursAsync() => [.. (await server.Http.GetFromJsonAsync<JsonElement>("/api/v1/deadletters?limit=500")).GetProperty("items").EnumerateArray()
            .Where(one => one.GetProperty("queue").GetString() == $"sagas.replies.{name}")];

        async Task<JsonElement> LetterAsync()
        {
            while (true)
                if (await OursAsync() is [var one]) return one;
        }
    }

    [Fact]
    public async Task Without_its_RabbitMQ_it_takes_sagas_and_says_what_is_the_matter_and_no_password()
    {
        var url = $"amqp://ann:Open-Sesame-1@127.0.0.1:{Servers.FreePorts(1)[0]}";
        await using var server = await RunningProgram.StartAsync(How([("Sagas__RabbitMq__Url", url)], "--urls", "http://127.0.0.1:0"), Banner);
        var definition = """{ "name": "journey", "version": 1, "steps": [ { "name": "seat", "step": { "do": "bus:seats/reserve" }, "readOnly": true } ] }""";
        (await server.Http.PutAsync("/api/v1/definitions/journey", new StringContent(definition, Encoding.UTF8, "application/json"))).StatusCode.ShouldBe(HttpStatusCode.Created);
        (await server.Http.PostAsJsonAsync("/api/v1/definitions/journey/sagas", new { })).StatusCode.ShouldBe(HttpStatusCode.Accepted);
        using var letters = await server.Http.GetAsync("/api/v1/deadletters");
        letters.StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        var told = await letters.Content.ReadAsStringAsync();
        told.ShouldContain("urn:sagas:bus-unavailable");
        string? ready;
        while ((ready = (await server.Http.GetFromJsonAsync<JsonElement>("/health/ready")).GetProperty("detail").GetString()) is null) await Task.Yield();
        ready.ShouldContain("cannot be reached");
        (told + ready + server.Output).ShouldNotContain("Open-Sesame");
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private sealed class Sockets : IConnectionListenerFactory
    {
        public int Bound { get; private set; }

        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
        {
            Bound++;
            return new ValueTask<IConnectionListener>((IConnectionListener)null!);
        }
    }

    private ProcessStartInfo How((string Name, string Value)[] environment, params string[] arguments)
    {
        var start = RunningProgram.How(Dll, arguments);
        start.WorkingDirectory = _folder;
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return start;
    }
}
