using System.Collections.Concurrent;

namespace Bank;

/// <summary>
/// The network between the server and the two banks, at its worst: it answers 500 by itself, swallows requests, and loses the reply after the bank has
/// acted. The banks are honest; what they say comes through as it is.
/// </summary>
public sealed class BadNetwork(int seed)
{
    private readonly HttpMessageInvoker _banks = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, UseProxy = false });
    private readonly ConcurrentDictionary<string, int> _sent = new(), _delivered = new();
    private readonly Random _random = new(seed);
    private int _errors, _hangs, _drops, _refusals;

    public int Requests => _sent.Values.Sum();
    public int Retries => Requests - _sent.Count;
    public int Errors => _errors;
    public int Hangs => _hangs;
    public int Drops => _drops;
    public int Refusals => _refusals;

    /// <summary>How often a bank was asked what it had done already: its barrier, or its file, had to notice.</summary>
    public int Repeats => _delivered.Values.Sum(count => count - 1);

    /// <summary>Passes requests on to a bank, or does not.</summary>
    public RequestDelegate To(Uri bank) => async http =>
    {
        var key = http.Request.Headers["Idempotency-Key"].ToString();
        _sent.AddOrUpdate(key, 1, (_, count) => count + 1);
        double fate;
        lock (_random) fate = _random.NextDouble();
        switch (fate)
        {
            case < 0.06:
                Interlocked.Increment(ref _errors);
                http.Response.StatusCode = 500;
                return;
            case < 0.08:
                Interlocked.Increment(ref _hangs);
                await Task.Delay(Timeout.Infinite, http.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return;
        }
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(bank, http.Request.Path)) { Content = new StreamContent(http.Request.Body) };
        foreach (var (name, values) in http.Request.Headers)
            if (name is not ("Host" or "Connection" or "Transfer-Encoding") && !request.Headers.TryAddWithoutValidation(name, [.. values]))
                request.Content.Headers.TryAddWithoutValidation(name, [.. values]);
        // A request that is under way arrives, whoever hangs up meanwhile.
        using var answer = await _banks.SendAsync(request, CancellationToken.None);
        var body = await answer.Content.ReadAsByteArrayAsync();
        _delivered.AddOrUpdate(key, 1, (_, count) => count + 1);
        if ((int)answer.StatusCode == 409) Interlocked.Increment(ref _refusals);
        if (fate < 0.13)
        {
            Interlocked.Increment(ref _drops);
            http.Abort();
            return;
        }
        http.Response.StatusCode = (int)answer.StatusCode;
        if (answer.Headers.RetryAfter is { } wait) http.Response.Headers.RetryAfter = wait.ToString();
        if (body.Length == 0) return;
        http.Response.ContentType = answer.Content.Headers.ContentType?.ToString();
        await http.Response.Body.WriteAsync(body);
    };
}
