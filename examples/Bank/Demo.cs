using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;

namespace Bank;

/// <summary>Starts transfers over REST, tells how they go, and holds the two banks' files against the sagas.</summary>
public sealed class Demo(Uri server, BadNetwork network) : IDisposable
{
    private const int Payers = 100, Payees = 100, Lanes = 100;
    private readonly HttpClient _http = new() { BaseAddress = server, Timeout = TimeSpan.FromSeconds(100) };

    public static async Task OpenAccountsAsync(Accounts accounts) =>
        await Task.WhenAll(Enumerable.Range(0, Payers).Select(n => accounts.OpenAsync(Payer(n), n % 20 == 0 ? 20 : 100_000)));     // one in twenty is poor

    /// <summary>What <c>curl -X PUT …/definitions/transfer -d @transfer.json</c> does.</summary>
    public async Task PutAsync(string definition)
    {
        using var answer = await _http.PutAsync(new Uri("/api/v1/definitions/transfer", UriKind.Relative), new StringContent(definition, Encoding.UTF8, "application/json"));
        if (answer.StatusCode == HttpStatusCode.Conflict)
            throw new InvalidOperationException("The data directory holds this version of 'transfer' with other ports, from an earlier run, and a version never changes. Start with that run's --port, or with another --data.");
        if (!answer.IsSuccessStatusCode) throw new InvalidOperationException($"The server refused the definition: {await answer.Content.ReadAsStringAsync()}");
    }

    public async Task RunAsync(int count, int seed)
    {
        var run = DateTime.UtcNow.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
        var (next, ended, random, clock) = (0, 0, new Random(seed), Stopwatch.StartNew());
        var amounts = Enumerable.Range(0, count).Select(_ => new { from = Payer(random.Next(Payers)), to = Payee(random.Next(Payees)), amount = random.Next(1, 50) }).ToArray();
        var lanes = Enumerable.Range(0, Lanes).Select(async _ =>
        {
            while (Interlocked.Increment(ref next) is var n && n <= count)
            {
                using var answer = await _http.PostAsJsonAsync($"/api/v1/definitions/transfer/sagas?id={run}-{n}&wait=60", amounts[n - 1]);
                if (answer.StatusCode is not (HttpStatusCode.OK or HttpStatusCode.Accepted)) throw new InvalidOperationException(await answer.Content.ReadAsStringAsync());
                Interlocked.Increment(ref ended);
            }
        }).ToArray();
        var all = Task.WhenAll(lanes);
        while (await Task.WhenAny(all, Task.Delay(TimeSpan.FromSeconds(1))) != all)
            Console.WriteLine($"  {clock.Elapsed.TotalSeconds,3:0} s: {ended} of {count} transfers, {network.Requests} requests, of which {network.Errors} failed, {network.Hangs} hung and {network.Drops} lost their reply");
        await all;
        Console.WriteLine($"{count} transfers in {clock.Elapsed.TotalSeconds:0.0} s");
    }

    /// <summary>Returns when the user presses Ctrl+C.</summary>
    public static async Task StopAskedAsync()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        ConsoleCancelEventHandler stop = (_, press) =>
        {
            press.Cancel = true;
            asked.TrySetResult();
        };
        Console.CancelKeyPress += stop;
        await asked.Task;
        Console.CancelKeyPress -= stop;
    }

    /// <summary>Waits until no saga is unfinished, and then whether every completed transfer, and no other, has moved its money once.</summary>
    public async Task<bool> AuditAsync(string data)
    {
        var sagas = await EndedAsync();
        var payer = Lines.Read<Entry>(Path.Combine(data, "payer.jsonl"), out _);
        var payee = Lines.Read<Entry>(Path.Combine(data, "payee.jsonl"), out _);
        var faults = new List<string>();
        var (taken, released) = (Sums(payer, "withdrawn"), Sums(payer, "released"));
        var returned = Sums(payee, "undone");
        var received = Sums(payee, "deposited").ToDictionary(one => one.Key, one => one.Value - returned.GetValueOrDefault(one.Key));
        var held = Sums(payer, "held").ToDictionary(one => one.Key, one => one.Value - taken.GetValueOrDefault(one.Key) - released.GetValueOrDefault(one.Key));

        foreach (var id in taken.Keys.Union(received.Keys).Union(held.Keys).Where(id => !sagas.ContainsKey(id))) faults.Add($"{id}: the banks know it, the server does not");
        foreach (var (id, saga) in sagas)
        {
            var (paid, got, open) = (taken.GetValueOrDefault(id), received.GetValueOrDefault(id), held.GetValueOrDefault(id));
            if (open != 0) faults.Add($"{id}: {open} is still held");
            if (paid != got) faults.Add($"{id}: {paid} was taken, {got} arrived");
            if (saga.Status == "Completed" != paid > 0) faults.Add($"{id}: it is {saga.Status}, and {paid} was taken");
        }
        var booked = payer.Where(entry => entry.What == "booked").Select(entry => entry.Saga).ToHashSet();
        faults.AddRange(sagas.Where(saga => saga.Value.Status == "Completed" != booked.Contains(saga.Key)).Select(saga => $"{saga.Key}: it is {saga.Value.Status}, and {(booked.Contains(saga.Key) ? "booked" : "not booked")}"));

        var opened = payer.Where(entry => entry.What == "opened").Sum(entry => entry.Amount);
        var left = opened - taken.Values.Sum() - held.Values.Sum();
        if (left + held.Values.Sum() + received.Values.Sum() != opened) faults.Add($"Of {opened} there are {left} at the payer's bank and {received.Values.Sum()} at the payee's");

        Console.WriteLine($"{sagas.Count} sagas in all: {string.Join(", ", sagas.Values.GroupBy(saga => saga.Status).OrderByDescending(group => group.Count()).Select(group => $"{group.Count()} {group.Key.ToLowerInvariant()}"))}");
        if (sagas.Values.Any(saga => saga.Code is not null))
            Console.WriteLine($"  why compensated: {string.Join(", ", sagas.Values.Where(saga => saga.Code is not null).GroupBy(saga => saga.Code!).OrderByDescending(group => group.Count()).Select(group => $"{group.Count()} {group.Key}"))}");
        Console.WriteLine($"  the network in this run: {network.Requests} requests, of them {network.Retries} retries; {network.Errors} failed, {network.Hangs} hung, {network.Drops} lost their reply; {network.Repeats} repeats reached a bank and changed nothing");
        Console.WriteLine($"  the money: {opened} opened = {left} at the payer's bank + {received.Values.Sum()} at the payee's ({returned.Values.Sum()} deposited and taken back), {held.Values.Sum()} held");
        foreach (var fault in faults.Take(20)) Console.WriteLine($"  FAULT {fault}");
        Console.WriteLine(faults.Count == 0 ? "The money adds up." : $"The money does not add up: {faults.Count} faults.");
        return faults.Count == 0;
    }

    private async Task<Dictionary<string, (string Status, string? Code)>> EndedAsync()
    {
        for (var patience = Stopwatch.StartNew(); ; await Task.Delay(TimeSpan.FromMilliseconds(200)))
        {
            var sagas = new Dictionary<string, (string Status, string? Code)>();
            string? cursor = null;
            do
            {
                var page = await _http.GetFromJsonAsync<JsonElement>($"/api/v1/sagas?limit=500{(cursor is null ? "" : "&cursor=" + Uri.EscapeDataString(cursor))}");
                foreach (var saga in page.GetProperty("items").EnumerateArray())
                    sagas[saga.GetProperty("id").GetString()!] = (saga.GetProperty("status").GetString()!, saga.GetProperty("error") is { ValueKind: JsonValueKind.Object } error ? error.GetProperty("code").GetString() : null);
                cursor = page.GetProperty("next").GetString();
            }
            while (cursor is not null);
            if (sagas.Values.All(saga => saga.Status is "Completed" or "Compensated")) return sagas;
            if (patience.Elapsed > TimeSpan.FromSeconds(90)) throw new TimeoutException($"{sagas.Count(saga => saga.Value.Status is not ("Completed" or "Compensated"))} sagas have not ended after 90 s. Look at them in the API.");
        }
    }

    private static Dictionary<string, decimal> Sums(List<Entry> entries, string what) =>
        entries.Where(entry => entry.What == what).GroupBy(entry => entry.Saga).ToDictionary(group => group.Key, group => group.Sum(entry => entry.Amount));

    private static string Payer(int n) => $"payer-{n:00}";

    private static string Payee(int n) => n % 20 == 0 ? $"closed-{n:00}" : $"payee-{n:00}";

    public void Dispose() => _http.Dispose();
}
