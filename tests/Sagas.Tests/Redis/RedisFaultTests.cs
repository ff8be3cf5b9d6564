using System.Reflection;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Sagas.Redis;
using Sagas.Runtime;
using Sagas.Tests.Runtime;
using Shouldly;
using StackExchange.Redis;
using Xunit;

namespace Sagas.Tests.Redis;

/// <summary>Redis as it is on a bad day. Each test has a server of its own to break.</summary>
public sealed class RedisFaultTests : IAsyncDisposable
{
    private readonly List<IAsyncDisposable> _open = [];

    public async ValueTask DisposeAsync()
    {
        foreach (var one in Enumerable.Reverse(_open)) await one.DisposeAsync();
    }

    [Fact]
    public async Task A_commit_whose_answer_was_lost_is_repeated_and_done_once()
    {
        var server = await ServerAsync();
        var proxy = new CuttingProxy(server.Port);
        _open.Add(proxy);
        var store = await OpenAsync(proxy.Address);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        proxy.CutNextAnswer();
        (await store.CommitAsync([start.Next(), TestSagas.Start("b")], default)).ShouldAllBe(static outcome => outcome == CommitOutcome.Committed);
        proxy.Cuts.ShouldBe(1);
        (await store.HistoryAsync(new SagaId("a"), 0, 10, default))!.Select(static entry => entry.Event).ShouldBe(["started", "sent", "replied"]);
    }

    [Fact]
    public async Task A_commit_whose_answer_was_lost_is_counted_once_under_its_tag()
    {
        var server = await ServerAsync();
        var proxy = new CuttingProxy(server.Port);
        _open.Add(proxy);
        var store = await OpenAsync(proxy.Address);
        // So that the script is known, and each commit below is sent to its end the first time.
        await store.MustCommitAsync(TestSagas.Start("first"));
        var eu = new SagaFilter(Tags: [KeyValuePair.Create("region", "eu")]);
        SagaCommit start = TestSagas.Start("a", tags: ("region", "eu")), confirmed = start.Confirm(), end = confirmed.End();
        var cuts = 0;
        foreach (var commit in new[] { start, confirmed, end })
        {
            // A commit while the connection is known to be down is not repeated.
            await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
            proxy.CutNextAnswer();
            (await store.CommitAsync(commit)).ShouldBe(CommitOutcome.Committed);
            proxy.Cuts.ShouldBe(++cuts);
            (await store.CountAsync(eu, default)).ShouldBe([KeyValuePair.Create(commit.State.Status, 1L)]);
        }
        (await store.CountAsync(eu with { Definition = "trip" }, default)).ShouldBe([KeyValuePair.Create(SagaStatus.Completed, 1L)]);
    }

    [Fact]
    public async Task A_server_that_has_forgotten_the_scripts_gets_them_again()
    {
        var server = await ServerAsync();
        var store = await OpenAsync(server.Address);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        server.Cli("script", "flush");
        var more = Enumerable.Range(0, 100).Select(static i => TestSagas.Start($"s{i}")).ToArray();
        (await store.CommitAsync([start.Next(), start.Next().Next(), .. more, start.Next().Next().End()], default)).ShouldAllBe(static outcome => outcome == CommitOutcome.Committed);
        server.Cli("script", "flush");
        (await store.ListAsync(new SagaFilter(Definition: "trip"), 500, null, default)).Items.Count.ShouldBe(101);
    }

    [Fact]
    public async Task While_the_server_is_gone_nothing_is_acknowledged_and_when_it_is_back_all_goes_on()
    {
        var server = await ServerAsync();
        var store = await OpenAsync(server.Address);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        await server.KillAsync();
        await Should.ThrowAsync<StoreUnavailableException>(async () => await store.CommitAsync(start.Next()));
        await Should.ThrowAsync<StoreUnavailableException>(async () => await store.FindAsync(new SagaId("a"), default));
        store.Health.Level.ShouldBe(StoreLevel.Down);
        await server.BeginAsync();
        await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
        await store.MustCommitAsync(start.Next());
    }

    [Fact]
    public async Task A_server_that_still_reads_its_data_takes_no_commits_and_that_is_said_once()
    {
        var server = await ServerAsync();
        var log = new ListLog();
        var store = await OpenAsync(server.Address, log: log);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        server.Cli("eval", "for i = 1, 20000 do redis.call('SET', 'other:' .. i, i) end", "0");
        await server.KillAsync();
        await server.BeginSlowlyAsync();
        await Eventually.TrueAsync(async () =>
        {
            await Should.ThrowAsync<StoreUnavailableException>(async () => await store.CommitAsync(start.Next()));
            return store.Health.Detail!.Contains("reads its data from disk", StringComparison.Ordinal);
        });
        store.Health.Level.ShouldBe(StoreLevel.Down);
        await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
        await store.MustCommitAsync(start.Next());
        lock (log.Lines)
        {
            foreach (var said in new[] { "is lost", "cannot be used", "is back", "can be used again" })
                log.Lines.Count(line => line.Contains(said, StringComparison.Ordinal)).ShouldBe(1, string.Join('\n', log.Lines));
        }
    }

    [Theory]
    [InlineData("interactive", 1)]      // asks; the client believes that it is being made
    [InlineData("interactive", 2)]      // asks; the client believes that it is there
    [InlineData("subscription", 1)]     // hears
    [InlineData("subscription", 2)]
    public async Task A_client_that_waits_for_ever_for_a_connection_that_it_has_forgotten_is_replaced(string which, int state)
    {
        var server = await ServerAsync();
        var log = new ListLog();
        var listener = new Listener();
        var store = await OpenAsync(server.Address, log: log, listener: listener);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        Forget(store, which, state);
        if (which == "interactive") await Should.ThrowAsync<StoreUnavailableException>(async () => await store.CommitAsync(start.Next()));
        await Eventually.TrueAsync(() => log.Contains("has taken its place"));
        await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
        await store.MustCommitAsync(start.Next());
        var before = listener.Times;
        server.Cli("publish", "sagas:nodes", "entered");
        await Eventually.TrueAsync(() => listener.Times > before);

        // What StackExchange.Redis 1.2.6 does to itself when PhysicalBridge.OnDisconnected meets a connection that is just being made.
        static void Forget(RedisStore store, string which, int state)
        {
            var client = (ConnectionMultiplexer)Field(Field(Field(store, "_link"), "_connection"), "_client");
            var bridge = Field(Field(client.GetServer(client.GetEndPoints()[0]), "server"), which);
            var connection = (IDisposable)Field(bridge, "physical");
            Of(bridge, "physical").SetValue(bridge, null);
            Of(bridge, "state").SetValue(bridge, state);
            connection.Dispose();
        }

        static object Field(object of, string name) => Of(of, name).GetValue(of)!;
        static FieldInfo Of(object of, string name) => of.GetType().GetField(name, BindingFlags.NonPublic | BindingFlags.Instance)!;
    }

    [Fact]
    public async Task A_primary_that_became_a_replica_takes_no_commits()
    {
        var server = await ServerAsync();
        var store = await OpenAsync(server.Address);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        server.Cli("replicaof", "127.0.0.1", "1");
        (await Should.ThrowAsync<StoreUnavailableException>(async () => await store.CommitAsync(start.Next()))).ShouldNotBeNull();
        store.Health.Level.ShouldBe(StoreLevel.Down);
        server.Cli("replicaof", "no", "one");
        await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
        await store.MustCommitAsync(start.Next());
    }

    [Fact]
    public async Task A_server_without_memory_takes_no_commits_and_says_why()
    {
        var server = await ServerAsync();
        var store = await OpenAsync(server.Address);
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        server.Cli("config", "set", "maxmemory", "1");
        (await Should.ThrowAsync<StoreUnavailableException>(async () => await store.CommitAsync(start.Next()))).Message.ShouldContain("out of memory");
        (await store.FindAsync(new SagaId("a"), default))!.Version.ShouldBe(1);
        server.Cli("config", "set", "maxmemory", "0");
        await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
        await store.MustCommitAsync(start.Next());
    }

    [Fact]
    public async Task A_server_that_does_not_answer_in_time_leaves_the_outcome_open_and_it_can_be_read_later()
    {
        var server = await ServerAsync();
        var store = await OpenAsync(server.Address, options => options.Timeout = TimeSpan.FromMilliseconds(300));
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        server.Signal("STOP");
        (await Should.ThrowAsync<StoreUnavailableException>(async () => await store.CommitAsync(start.Next()))).Message.ShouldContain("Sagas:Redis:Timeout");
        server.Signal("CONT");
        await Eventually.TrueAsync(() => store.Health.Level == StoreLevel.Good);
        var stored = (await store.FindAsync(new SagaId("a"), default))!;
        stored.Version.ShouldBeInRange(1, 2);
        if (stored.Version == 1) await store.MustCommitAsync(start.Next());
        (await store.HistoryAsync(new SagaId("a"), 0, 10, default))!.Select(static entry => entry.Event).ShouldBe(["started", "sent", "replied"]);
    }

    [Fact]
    public async Task A_server_that_may_lose_sagas_is_warned_of_at_the_start_and_in_the_health()
    {
        var server = await ServerAsync("--appendonly", "no", "--maxmemory-policy", "allkeys-lru");
        var log = new ListLog();
        var store = await OpenAsync(server.Address, log: log);
        store.Health.Level.ShouldBe(StoreLevel.Good);
        store.Health.Detail!.ShouldContain("appendonly yes");
        store.Health.Detail!.ShouldContain("allkeys-lru");
        log.Lines.Count(static line => line.StartsWith("Warning", StringComparison.Ordinal)).ShouldBe(2);
    }

    [Fact]
    public async Task Little_memory_left_refuses_new_sagas_before_it_stops_open_ones()
    {
        var server = await ServerAsync();
        server.Cli("setrange", "other", "60000000", "x");
        var used = long.Parse(server.Cli("info", "memory").Split('\n').Single(static line => line.StartsWith("used_memory:", StringComparison.Ordinal)).Split(':')[1]);
        server.Cli("config", "set", "maxmemory", $"{used + (used / 20)}");
        var store = await OpenAsync(server.Address);
        store.Health.Level.ShouldBe(StoreLevel.Low);
        store.Health.Detail!.ShouldContain("new sagas are refused");
    }

    [Fact]
    public async Task A_wrong_password_and_a_server_that_is_not_there_stop_the_start_and_the_password_is_not_shown()
    {
        var server = await ServerAsync("--requirepass", "right-word");
        foreach (var address in new[] { server.Address, $"127.0.0.1:{Servers.FreePorts(1)[0]}" })
        {
            var failed = await Should.ThrowAsync<StoreUnavailableException>(() => OpenAsync($"{address},password=wrong-word", options => options.ConnectTimeout = TimeSpan.FromMilliseconds(500)));
            failed.Message.ShouldContain("Sagas:Redis:Connection");
            failed.Message.ShouldContain(address);
            failed.ToString().ShouldNotContain("wrong-word");
        }
        await OpenAsync($"{server.Address},password=right-word");
    }

    [Fact]
    public async Task Why_Redis_cannot_be_used_is_said_when_the_start_gives_up()
    {
        var (server, port) = (await ServerAsync("--requirepass", "right-word"), Servers.FreePorts(1)[0]);
        (await WhyAsync($"{server.Address},password=wrong-word")).ShouldContain($"{server.Address} refuses the password: WRONGPASS");
        (await WhyAsync(server.Address)).ShouldContain($"{server.Address} wants a password. Add ',password=…'.");
        (await WhyAsync($"{server.Address},password=right-word,ssl=true")).ShouldContain($"{server.Address} cannot be spoken to by TLS, which ssl=true asks for: ");
        (await WhyAsync($"127.0.0.1:{port},password=right-word")).ShouldContain($"127.0.0.1:{port} cannot be reached: Connection refused. Is Redis running there?");

        async Task<string> WhyAsync(string connection)
        {
            var failed = await Should.ThrowAsync<StoreUnavailableException>(() => OpenAsync(connection, options => options.ConnectTimeout = TimeSpan.FromMilliseconds(500)));
            failed.ToString().ShouldNotContain("-word");
            return failed.Message;
        }
    }

    [Fact]
    public async Task Another_number_of_partitions_than_the_stored_one_is_refused()
    {
        var server = await ServerAsync();
        await OpenAsync(server.Address);
        (await Should.ThrowAsync<InvalidOperationException>(() => OpenAsync(server.Address, options => options.Partitions = 8))).Message
            .ShouldContain("Sagas:Redis:Partitions is 8, but the sagas under 'sagas' are spread over 16");
    }

    [Fact]
    public async Task Sagas_that_another_version_laid_out_are_refused()
    {
        var server = await ServerAsync();
        server.Cli("hset", "{sagas:nodes}:layout", "partitions", "16", "format", "1");
        (await Should.ThrowAsync<InvalidOperationException>(() => OpenAsync(server.Address))).Message
            .ShouldBe("The sagas under 'sagas' are stored in format 1; this program knows format 2. Run the version that wrote them, or use another Sagas:Redis:Prefix.");
    }

    [Theory]
    [InlineData("Connection", "", "Sagas:Redis:Connection is empty")]
    [InlineData("Connection", "localhost:6379,password=secret,nonsense=1", "Sagas:Redis:Connection 'localhost:6379,password=***,nonsense=***' cannot be read")]
    [InlineData("Connection", "localhost:6379,pasword=secret", "Sagas:Redis:Connection 'localhost:6379,pasword=***' cannot be read: Keyword 'pasword' is not supported")]
    [InlineData("Connection", "localhost:6379,password=a,secret,b=1", "Sagas:Redis:Connection 'localhost:6379,password=***,***,b=***' cannot be read")]
    [InlineData("Connection", "redis://:secret@localhost:6379", "Sagas:Redis:Connection '***@localhost:6379' names no server. Begin with 'host:port'.")]
    [InlineData("Prefix", "a{b}", "Sagas:Redis:Prefix 'a{b}'")]
    [InlineData("Partitions", "0", "Sagas:Redis:Partitions is 0. Use 1 to 1024.")]
    [InlineData("Timeout", "00:00:00", "Sagas:Redis:Timeout is 00:00:00.")]
    [InlineData("Lease", "2.00:00:00", "Sagas:Redis:Lease is 2.00:00:00.")]
    public async Task Bad_configuration_is_refused_at_the_start_with_its_key_and_value(string key, string value, string message)
    {
        var builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["Sagas:Redis:Connection"] = "localhost:1", [$"Sagas:Redis:{key}"] = value });
        builder.Services.AddSagas(static sagas => sagas.UseRedis());
        using var host = builder.Build();
        var refused = await Should.ThrowAsync<OptionsValidationException>(() => host.StartAsync());
        refused.Message.ShouldContain(message);
        refused.ToString().ShouldNotContain("secret");
    }

    private async Task<RedisServer> ServerAsync(params string[] settings)
    {
        var server = await RedisServer.StartAsync(settings);
        _open.Add(server);
        return server;
    }

    private async Task<RedisStore> OpenAsync(string connection, Action<RedisOptions>? configure = null, ILogger<RedisStore>? log = null, INodeListener? listener = null)
    {
        var options = new RedisOptions { Connection = connection, Timeout = TimeSpan.FromSeconds(2) };
        configure?.Invoke(options);
        var store = new RedisStore(Options.Create(options), Options.Create(new SagasOptions()), TimeProvider.System, log);
        _open.Add(store);
        if (listener is not null) store.Listen(listener);
        await store.OpenAsync(default);
        return store;
    }

    private sealed class Listener : INodeListener
    {
        private int _times;

        public int Times => Volatile.Read(ref _times);

        public void NodesChanged() => Interlocked.Increment(ref _times);

        public void Heard(SagaState saga) { }

        public void Taken(SagaId saga) { }

        public void DefinitionsChanged() { }

        public void WritesLost() { }

        public ReadOnlyMemory<byte> Asked(ReadOnlyMemory<byte> question) => default;
    }

    private sealed class ListLog : ILogger<RedisStore>
    {
        public List<string> Lines { get; } = [];

        public bool Contains(string text)
        {
            lock (Lines) return Lines.Any(line => line.Contains(text, StringComparison.Ordinal));
        }

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (Lines) Lines.Add($"{logLevel}: {formatter(state, exception)}");
        }
    }
}
