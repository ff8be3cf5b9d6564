using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Sagas.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Server;

/// <summary>
/// 500 transfers at once through a bank that refuses, fails, hangs and loses its reply after it has acted, while the server is killed by SIGKILL and started
/// again; then the promises are held against what the bank saw. SAGAS_KILLS and SAGAS_SEED set the run.
/// </summary>
public sealed class ServerKillTests(ITestOutputHelper output)
{
    private const int Transfers = 500;
    private readonly CancellationToken _cancel = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Money_is_conserved_and_nothing_left_half_done_by_a_bad_bank_and_kill_9()
    {
        var kills = Number("SAGAS_KILLS") ?? 2;
        var seed = Number("SAGAS_SEED") ?? Random.Shared.Next();
        output.WriteLine($"{kills} kills, seed {seed}: SAGAS_SEED={seed} repeats the transfers and the faults, as far as the machine does.");
        var random = new Random(seed);
        var folder = Directory.CreateTempSubdirectory("server-kill-").FullName;
        try
        {
            await using var bank = await Bank.OpenAsync(random.Next());
            await File.WriteAllTextAsync(Path.Combine(folder, "transfer.json"), Definition(bank.Url), _cancel);
            var starts = new ConcurrentDictionary<string, object>(Enumerable.Range(0, Transfers).Select(n =>
                KeyValuePair.Create($"t{n}", (object)new { from = $"a{random.Next(20)}", to = $"b{random.Next(20)}", amount = random.Next(1, 30) })));
            var unanswered = new ConcurrentDictionary<string, object>(starts);
            for (var life = 0; life < kills; life++)
            {
                await using var server = await StartAsync(folder);
                var killAt = bank.Requests + random.Next(200, 1200);
                var starting = StartAllAsync(server.Http, unanswered);
                await bank.ReachedAsync(killAt).WaitAsync(TimeSpan.FromSeconds(60), _cancel);
                await server.KillAsync();
                await starting;
                output.WriteLine($"life {life + 1}: killed after {bank.Requests} requests; {unanswered.Count} starts unanswered");
            }
            await using (var server = await StartAsync(folder))
            {
                await StartAllAsync(server.Http, unanswered);
                unanswered.ShouldBeEmpty();
                var sagas = await EndedAsync(server.Http);
                sagas.Keys.ShouldBe(starts.Keys, ignoreOrder: true);
                output.WriteLine($"{string.Join(", ", sagas.GroupBy(saga => saga.Value).Select(group => $"{group.Count()} {group.Key}"))}; {bank.Requests} requests, {bank.Faults}");
                bank.Check(sagas);
                bank.Seen.Count(seen => seen.Phase == "compensate").ShouldBeGreaterThan(0);
                (await server.StopAsync()).ShouldBe(0, server.Output);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Task<RunningProgram> StartAsync(string folder) =>
        RunningProgram.StartAsync("Sagas.Server.dll", "Sagas listens at ", "--urls", "http://127.0.0.1:0", "--Sagas:Journal:Path", Path.Combine(folder, "data"),
            "--Sagas:Definitions", Path.Combine(folder, "transfer.json"), "--Logging:LogLevel:Default", "Error");

    /// <summary>Starts what no server has acknowledged yet. A line that is cut leaves the start unanswered: it is repeated to the next server, and is to be one saga.</summary>
    private Task StartAllAsync(HttpClient http, ConcurrentDictionary<string, object> unanswered) => Parallel.ForEachAsync(unanswered, new ParallelOptions { MaxDegreeOfParallelism = 50, CancellationToken = _cancel }, async (start, cancel) =>
    {
        try
        {
            using var answer = await http.PostAsJsonAsync($"/api/v1/definitions/transfer/sagas?id={start.Key}", start.Value, cancel);
            answer.StatusCode.ShouldBeOneOf(HttpStatusCode.Accepted, HttpStatusCode.OK);
            unanswered.TryRemove(start.Key, out _);
        }
        catch (HttpRequestException)
        {
        }
    });

    private async Task<Dictionary<string, string>> EndedAsync(HttpClient http)
    {
        var sagas = new Dictionary<string, string>();
        for (string? cursor = ""; cursor is not null;)
        {
            var page = await http.GetFromJsonAsync<JsonElement>($"/api/v1/sagas?limit=100{(cursor == "" ? "" : "&cursor=" + Uri.EscapeDataString(cursor))}", _cancel);
            foreach (var saga in page.GetProperty("items").EnumerateArray()) sagas[saga.GetProperty("id").GetString()!] = "";
            cursor = page.GetProperty("next").GetString();
        }
        await Parallel.ForEachAsync(sagas.Keys.ToArray(), new ParallelOptions { MaxDegreeOfParallelism = 50, CancellationToken = _cancel }, async (id, cancel) =>
        {
            var saga = await http.GetFromJsonAsync<JsonElement>($"/api/v1/sagas/{id}?wait=45", cancel);
            lock (sagas) sagas[id] = saga.GetProperty("status").GetString()!;
        });
        return sagas;
    }

    /// <summary>Two reservations side by side, then a fee and a booking that are compensated: nothing is confirmed before all four succeeded.</summary>
    private static string Definition(string bank)
    {
        const string hurry = """ "timeout": "PT0.7S", "retry": { "attempts": 6, "first": "PT0.02S", "max": "PT0.3S" } """;
        return $$"""
            { "name": "transfer", "version": 1, "steps": [
              { "name": "debit", "tcc": { "try": "{{bank}}/bank/debit/try", "confirm": "{{bank}}/bank/debit/confirm", "cancel": "{{bank}}/bank/debit/cancel" },
                "input": { "account": "$.input.from", "amount": "$.input.amount" }, {{hurry}} },
              { "name": "credit", "tcc": { "try": "{{bank}}/bank/credit/try", "confirm": "{{bank}}/bank/credit/confirm", "cancel": "{{bank}}/bank/credit/cancel" },
                "input": { "account": "$.input.to", "amount": "$.input.amount" }, {{hurry}} },
              { "name": "fee", "after": ["debit"], "step": { "do": "{{bank}}/bank/charge", "compensate": "{{bank}}/bank/refund/compensate" },
                "input": { "account": "$.steps.debit.result.account" }, {{hurry}} },
              { "name": "book", "after": ["credit", "fee"], "step": { "do": "{{bank}}/bank/book", "compensate": "{{bank}}/bank/unbook/compensate" },
                "input": { "text": "{$.input.from} to {$.input.to}" }, {{hurry}} } ] }
            """;
    }

    private static int? Number(string variable) => int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number) ? number : null;

    public sealed record Debit(string Account, int Amount) : ITryCommand<Debit, Held>;
    public sealed record Credit(string Account, int Amount) : ITryCommand<Credit, Held>;
    public sealed record Held(string Account, int Amount);
    public sealed record Charge(string Account) : ICommand<Charge, Held>;
    public sealed record Refund(Charge Command, Held? Result) : ICommand<Refund>;
    public sealed record Book(string Text) : ICommand<Book, Held>;
    public sealed record Unbook(Book Command, Held? Result) : ICommand<Unbook>;

    /// <summary>What the bank saw: a request as it came in, or an effect as it was brought about.</summary>
    private sealed record Sight(int At, string Saga, string Step, string Phase, bool IsEffect);

    /// <summary>The bank: honest accounts behind the barrier, bad manners before it. It outlives the server, as another team's service does.</summary>
    private sealed class Bank : ITccHandler<Debit, Held>, ITccHandler<Credit, Held>, IStepHandler<Charge, Held>, IStepHandler<Refund>, IStepHandler<Book, Held>, IStepHandler<Unbook>, IAsyncDisposable
    {
        private const int Fee = 1, Opening = 1000;
        private readonly Random _random;
        private readonly Lock _lock = new();
        private readonly List<Sight> _seen = [];
        private readonly Dictionary<string, int> _free = [];
        private readonly Dictionary<(string Saga, string Step), (string Account, int Amount)> _open = [];
        private readonly List<(int Count, TaskCompletionSource Reached)> _waiting = [];
        private int _refused, _failed, _hung, _dropped, _requests, _fees;
        private WebApplication _app = null!;

        private Bank(int seed)
        {
            _random = new Random(seed);
            for (var i = 0; i < 20; i++) (_free[$"a{i}"], _free[$"b{i}"]) = (Opening, Opening);
        }

        public string Url => _app.Urls.First();
        public int Requests => Volatile.Read(ref _requests);
        public string Faults => $"{_refused} refused, {_failed} failed, {_hung} hung, {_dropped} replies lost";

        public IReadOnlyList<Sight> Seen
        {
            get { lock (_lock) return [.. _seen]; }
        }

        public static async Task<Bank> OpenAsync(int seed)
        {
            var bank = new Bank(seed);
            var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            builder.Services.AddRoutingCore().AddSingleton(bank);
            builder.Services.AddSagaParticipants(p => p.Add<Bank>("bank"));
            bank._app = builder.Build();
            bank._app.Use(bank.MisbehaveAsync);
            bank._app.MapSagaParticipants();
            await bank._app.StartAsync();
            return bank;
        }

        public Task ReachedAsync(int requests)
        {
            lock (_lock)
            {
                var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                _waiting.Add((requests, reached));
                if (_requests >= requests) reached.TrySetResult();
                return reached.Task;
            }
        }

        private async Task MisbehaveAsync(HttpContext http, RequestDelegate next)
        {
            double fate;
            lock (_lock)
            {
                _requests++;
                foreach (var (count, reached) in _waiting)
                    if (_requests >= count) reached.TrySetResult();
                _seen.Add(new Sight(_seen.Count, http.Request.Headers["Saga-Id"].ToString(), http.Request.Headers["Saga-Step"].ToString(), http.Request.Headers["Saga-Phase"].ToString(), IsEffect: false));
                fate = _random.NextDouble();
            }
            if (fate < 0.05)
            {
                Interlocked.Increment(ref _failed);
                http.Response.StatusCode = 500;
                return;
            }
            if (fate < 0.07)
            {
                Interlocked.Increment(ref _hung);
                var cut = new TaskCompletionSource();
                http.RequestAborted.Register(cut.SetResult);
                await cut.Task;
                return;
            }
            if (fate >= 0.14)
            {
                await next(http);
                return;
            }
            // It acts, and its reply is lost, or becomes an error.
            var reply = http.Response.Body;
            http.Response.Body = Stream.Null;
            await next(http);
            Interlocked.Increment(ref _dropped);
            if (fate < 0.1 || http.Response.HasStarted) http.Abort();
            else
            {
                http.Response.Clear();
                http.Response.Body = reply;
                http.Response.StatusCode = 502;
            }
        }

        // ── Accounts ────────────────────────────────────────────────────────────────────────────────────────────────────

        public Task<Held> TryAsync(Debit command, CommandContext context, CancellationToken cancel) => Effect(context, () =>
        {
            if (_free[command.Account] < command.Amount) throw new RefusedException("no-money", "There is not enough.");
            _free[command.Account] -= command.Amount;
            return Keep(context, command.Account, command.Amount);
        });

        public Task ConfirmAsync(Debit command, Held? reservation, CommandContext context, CancellationToken cancel) => Effect(context, () => Settle(context));

        public Task CancelAsync(Debit command, Held? reservation, CommandContext context, CancellationToken cancel) => Effect(context, () => _free[command.Account] += Settle(context));

        public Task<Held> TryAsync(Credit command, CommandContext context, CancellationToken cancel) => Effect(context, () => Keep(context, command.Account, command.Amount));

        public Task ConfirmAsync(Credit command, Held? reservation, CommandContext context, CancellationToken cancel) => Effect(context, () => _free[command.Account] += Settle(context));

        public Task CancelAsync(Credit command, Held? reservation, CommandContext context, CancellationToken cancel) => Effect(context, () => Settle(context));

        public Task<Held> HandleAsync(Charge command, CommandContext context, CancellationToken cancel) => Effect(context, () =>
        {
            _free[command.Account] -= Fee;
            _fees += Fee;
            return Keep(context, command.Account, Fee);
        });

        public Task HandleAsync(Refund command, CommandContext context, CancellationToken cancel) => Effect(context, () =>
        {
            var charged = Settle(context);
            _free[command.Command.Account] += charged;
            _fees -= charged;
            return charged;
        });

        public Task<Held> HandleAsync(Book command, CommandContext context, CancellationToken cancel) => Effect(context, () => Keep(context, command.Text, 0));

        public Task HandleAsync(Unbook command, CommandContext context, CancellationToken cancel) => Effect(context, () => Settle(context));

        private Task<T> Effect<T>(CommandContext context, Func<T> act)
        {
            lock (_lock)
            {
                if (context.Phase is Phase.Try or Phase.Do && _random.NextDouble() < 0.04)
                {
                    _refused++;
                    throw new RefusedException("no", "Not today.");
                }
                var result = act();
                _seen.Add(new Sight(_seen.Count, context.Saga, context.Step, context.Phase.Word(), IsEffect: true));
                return Task.FromResult(result);
            }
        }

        private Held Keep(CommandContext context, string account, int amount)
        {
            _open.Add((context.Saga, context.Step), (account, amount));
            return new Held(account, amount);
        }

        private int Settle(CommandContext context) => _open.Remove((context.Saga, context.Step), out var held) ? held.Amount : 0;

        // ── Promises ────────────────────────────────────────────────────────────────────────────────────────────────────

        private static readonly Dictionary<string, string[]> Followers = new() { ["debit"] = ["fee", "book"], ["credit"] = ["book"], ["fee"] = ["book"], ["book"] = [] };

        public void Check(Dictionary<string, string> sagas)
        {
            lock (_lock)
            {
                sagas.Values.ShouldAllBe(status => status == "Completed" || status == "Compensated");
                var completed = sagas.Where(saga => saga.Value == "Completed").Select(saga => saga.Key).ToHashSet();
                var faults = new List<string>();
                foreach (var saga in _seen.GroupBy(seen => seen.Saga)) faults.AddRange(FaultsOf(saga.Key, completed.Contains(saga.Key), [.. saga]).Select(fault => $"{saga.Key}: {fault}"));
                faults.ShouldBeEmpty();
                _fees.ShouldBe(completed.Count * Fee);
                (_free.Values.Sum() + _fees).ShouldBe(40 * Opening, "money is neither made nor lost");
                _open.Keys.Where(key => key.Step is "debit" or "credit").ShouldBeEmpty("nothing is held by a saga that has ended");
                _open.Count.ShouldBe(2 * completed.Count, "every completed saga, and no other, has its fee and its booking");
            }
        }

        private static IEnumerable<string> FaultsOf(string saga, bool completed, Sight[] seen)
        {
            int? Effect(string step, params string[] phases) => seen.FirstOrDefault(one => one.IsEffect && one.Step == step && phases.Contains(one.Phase))?.At;
            int? Asked(string step, params string[] phases) => seen.FirstOrDefault(one => !one.IsEffect && one.Step == step && phases.Contains(one.Phase))?.At;

            foreach (var (step, followers) in Followers)
            {
                var (forward, confirm, undo) = (Effect(step, "try", "do"), Asked(step, "confirm"), Asked(step, "cancel", "compensate"));
                if (confirm is not null && undo is not null) yield return $"{step} was asked both to confirm and to undo";
                if (completed && (forward is null || undo is not null)) yield return $"it is completed, and {step} {(forward is null ? "had no effect" : "was undone")}";
                if (!completed && confirm is not null) yield return $"it is compensated, and {step} was confirmed";
                if (!completed && forward is not null && Effect(step, "cancel", "compensate") is null) yield return $"it is compensated, and {step} was not undone";
                if (confirm is { } at && Followers.Keys.FirstOrDefault(other => !(Effect(other, "try", "do") < at)) is { } late) yield return $"{step} was confirmed before {late} had succeeded";
                if (seen.GroupBy(one => (one.Phase, one.IsEffect)).Any(phase => phase.Key.IsEffect && phase.Count(one => one.Step == step) > 1)) yield return $"{step} took effect twice";
                foreach (var follower in followers)
                    if (undo is { } before && Effect(follower, "try", "do") is not null && !(Effect(follower, "compensate") < before)) yield return $"{step} was undone before {follower}, which comes after it";
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _app.StopAsync();
            await _app.DisposeAsync();
        }
    }
}
