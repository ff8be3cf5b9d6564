using Shouldly;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Sagas.AspNetCore;
using Sagas.Runtime;

namespace Sagas.Tests.AspNetCore;

internal record TripRequest(string Flight, DateOnly Day, int Seats = 1);
internal record TripBooked(string? Seat);
internal record Place(string Id);
internal record ReserveSeat(string Flight, DateOnly Day) : ITryCommand<ReserveSeat, Place>;
internal record ReserveRoom(DateOnly Day) : ITryCommand<ReserveRoom, Place>;
internal record Capture(string Seat) : ICommand<Capture, Place>;
internal record SendTicket(string Seat) : ICommand<SendTicket>;

/// <summary>Two reservations side by side, then money: the pivot; then a ticket.</summary>
[Saga("book-trip")]
internal sealed class BookTrip : Saga<TripRequest, TripBooked>
{
    protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga)
    {
        saga.Timeout(5.Minutes());
        var (seat, _) = saga.Parallel(
            f => f.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Named("seat").To("seats").Timeout(30.Seconds()),
            f => f.Tcc(c => new ReserveRoom(c.Input.Day)).Named("room").To("rooms").Timeout(30.Seconds()));
        saga.Step(c => new Capture(c.Get(seat).Id)).Pivot().Named("pay").To("money");
        saga.Step(c => new SendTicket(c.Get(seat).Id)).Named("ticket").To("post");
        return saga.Complete(c => new TripBooked(c.Get(seat).Id));
    }
}

/// <summary>One reservation, no pivot; two versions of it.</summary>
[Saga("reserve", version: 1)]
internal sealed class Reserve : Saga<TripRequest, TripBooked>
{
    protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga)
    {
        var seat = saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Named("seat").To("seats").Retry(1, 1.Hours(), 1.Hours()).Timeout(30.Seconds());
        return saga.Complete(c => new TripBooked(c.Get(seat).Id));
    }
}

/// <inheritdoc cref="Reserve"/>
[Saga("reserve", version: 2)]
internal sealed class ReserveAgain : Saga<TripRequest, TripBooked>
{
    protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga)
    {
        saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Named("first").To("seats");
        var seat = saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Named("second").To("seats");
        return saga.Complete(c => new TripBooked(c.Get(seat).Id));
    }
}

/// <summary>Sagas in memory; can be told to break.</summary>
internal sealed class BreakableStore() : DelegatingSagaStore(new MemoryStore())
{
    /// <summary>What every call throws; null: the store works.</summary>
    public Exception? Fault { get; set; }

    public override StoreHealth Health => Said;

    /// <summary>What it says of its health.</summary>
    public StoreHealth Said { get; set; } = StoreHealth.Good;

    protected override ISagaStore Inner => Fault is null ? base.Inner : throw Fault;

    /// <summary>What each commit waits for; null: nothing.</summary>
    public Func<SagaCommit, Task>? BeforeCommit { get; set; }

    public override async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        if (BeforeCommit is { } wait)
            foreach (var commit in commits) await wait(commit);
        return await base.CommitAsync(commits, cancel);
    }

    /// <summary>What keeping an operator's deed throws; null: it is kept.</summary>
    public Exception? AuditFault { get; set; }

    public override ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel) => AuditFault is null ? base.SaveAuditAsync(entry, cancel) : throw AuditFault;
}

/// <summary>Participants that answer as they are told, and at once.</summary>
internal sealed class ScriptedTransport : ITransport
{
    public string ReplyTo => "replies";

    /// <summary>The answer to a command; null: none comes.</summary>
    public Func<CommandItem, ReplyItem?> Script { get; set; } = Ok;

    public SagaEngine? Engine { get; set; }

    /// <summary>Commands that were sent and, where answered, whose answers the engine has.</summary>
    public BlockingCollection<CommandItem> Sent { get; } = [];

    public async Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel)
    {
        var replies = batch.Items.Select(Script).OfType<ReplyItem>().ToArray();
        if (replies.Length > 0) await Engine!.ReceiveAsync(new ReplyBatch(replies), cancel);
        foreach (var item in batch.Items) Sent.Add(item, cancel);
    }

    public static ReplyItem Ok(CommandItem item) => Reply(item, Outcome.Ok);

    public static ReplyItem? Silent(CommandItem item) => null;

    public static ReplyItem Reply(CommandItem item, Outcome outcome, string? code = null, string? message = null) =>
        new(item.Saga, item.Step, item.Phase, item.Attempt, outcome, outcome == Outcome.Ok ? Payload.Parse($"{{\"id\":\"{item.Step}-1\"}}") : null, code, message);
}

internal sealed record Reply(int Status, string Text, HttpResponseMessage Raw)
{
    public JsonElement Json => JsonDocument.Parse(Text).RootElement;

    public string? Header(string name) => Raw.Headers.TryGetValues(name, out var values) || Raw.Content.Headers.TryGetValues(name, out values) ? string.Join(", ", values) : null;

    public string? At(string name) => Json.GetProperty(name) is var value && value.ValueKind == JsonValueKind.String ? value.GetString() : value.GetRawText();
}

/// <summary>A client of server-sent events.</summary>
internal sealed class EventReader(HttpResponseMessage response, StreamReader lines) : IDisposable
{
    /// <summary>The next event and its data; null: the stream has ended.</summary>
    public async Task<(string Name, JsonElement Data)?> Next()
    {
        string? name = null, data = null;
        while (await lines.ReadLineAsync() is { } line)
        {
            if (line.StartsWith("event: ", StringComparison.Ordinal)) name = line[7..];
            else if (line.StartsWith("data: ", StringComparison.Ordinal)) data = line[6..];
            else if (line.Length == 0 && name is not null) return (name, JsonDocument.Parse(data!).RootElement);
        }
        return null;
    }

    /// <summary>The data of the next event of that name; others are passed over.</summary>
    public async Task<JsonElement> Next(string name)
    {
        while (await Next() is { } next)
            if (next.Name == name) return next.Data;
        throw new EndOfStreamException($"The stream ended without an event '{name}'.");
    }

    public void Dispose() => response.Dispose();
}

/// <summary>The engine with its API on a loopback port, with scripted participants and a store in memory.</summary>
internal sealed class ApiHost : IAsyncDisposable
{
    public const string Input = """{"flight":"LH1","day":"2026-01-31"}""";
    public const string Start = "/api/v1/definitions/reserve/sagas?version=1";

    private readonly WebApplication _app;
    private readonly HttpClient _client;

    private ApiHost(WebApplication app)
    {
        _app = app;
        _client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false }) { BaseAddress = new Uri(app.Urls.First()) };
    }

    public Uri Address => _client.BaseAddress!;

    public BreakableStore Store => (BreakableStore)_app.Services.GetRequiredService<ISagaStore>();

    public ScriptedTransport Participants => (ScriptedTransport)_app.Services.GetRequiredService<ITransport>();

    public SagaEngine Engine => _app.Services.GetRequiredService<SagaEngine>();

    public static async Task<ApiHost> StartAsync(Func<CommandItem, ReplyItem?>? script = null, Action<SagasOptions>? options = null, Action<WebApplication>? map = null, ISagaStore? store = null,
        Action<IServiceCollection>? services = null)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        builder.Services.AddRoutingCore().AddLogging();
        builder.Services.AddSingleton(store ?? new BreakableStore());
        var participants = new ScriptedTransport { Script = script ?? ScriptedTransport.Ok };
        builder.Services.AddSingleton<ITransport>(participants);
        services?.Invoke(builder.Services);
        builder.Services.AddSagas(s => s.AddSaga<BookTrip>().AddSaga<Reserve>().AddSaga<ReserveAgain>().Configure(o =>
        {
            o.Workers = 1;
            o.LazyFlush = TimeSpan.FromMilliseconds(1);
            options?.Invoke(o);
        }));
        var app = builder.Build();
        participants.Engine = app.Services.GetRequiredService<SagaEngine>();
        if (map is null) app.MapSagas();
        else map(app);
        await app.StartAsync();
        return new ApiHost(app);
    }

    public Task<Reply> Get(string path) => Send(HttpMethod.Get, path);

    public Task<Reply> Post(string path, string body = Input, string type = "application/json", params (string Name, string Value)[] headers) =>
        Post(path, Encoding.UTF8.GetBytes(body), type, headers);

    public Task<Reply> Post(string path, byte[] body, string? type, params (string Name, string Value)[] headers)
    {
        var content = new ByteArrayContent(body);
        if (type is not null) content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        return Send(HttpMethod.Post, path, content, headers);
    }

    public Task<Reply> Put(string path, string body, string type = "application/json", params (string Name, string Value)[] headers) =>
        Send(HttpMethod.Put, path, new ByteArrayContent(Encoding.UTF8.GetBytes(body)) { Headers = { ContentType = MediaTypeHeaderValue.Parse(type) } }, headers);

    public async Task<Reply> Send(HttpMethod method, string path, HttpContent? content = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path) { Content = content };
        foreach (var (name, value) in headers) request.Headers.TryAddWithoutValidation(name, value);
        var response = await _client.SendAsync(request);
        return new Reply((int)response.StatusCode, await response.Content.ReadAsStringAsync(), response);
    }

    /// <summary>Opens a stream of server-sent events.</summary>
    public async Task<EventReader> Listen(string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        var response = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        response.Content.Headers.ContentType!.MediaType.ShouldBe("text/event-stream");
        return new EventReader(response, new StreamReader(await response.Content.ReadAsStreamAsync()));
    }

    public Task StopAsync() => _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _app.DisposeAsync();
    }
}

internal static class ReplyShould
{
    /// <summary>The answer is a problem of this name, with these words in its detail.</summary>
    public static Reply ShouldBeProblem(this Reply reply, int status, string name, params string[] words)
    {
        reply.Status.ShouldBe(status, reply.Text);
        reply.Header("Content-Type").ShouldBe("application/problem+json");
        reply.At("type").ShouldBe("urn:sagas:" + name);
        reply.Json.GetProperty("status").GetInt32().ShouldBe(status);
        reply.At("title").ShouldNotBeNullOrEmpty();
        foreach (var word in words) reply.At("detail")!.ShouldContain(word);
        reply.Text.ShouldNotContain("   at ");
        reply.Text.ShouldNotContain("System.");
        reply.Header("X-Content-Type-Options").ShouldBe("nosniff");
        reply.Header("Cache-Control").ShouldBe("no-store");
        return reply;
    }
}
