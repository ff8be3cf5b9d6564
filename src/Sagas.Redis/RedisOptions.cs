using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace Sagas.Redis;

/// <summary>Where Redis is and how it is used; configuration section <c>Sagas:Redis</c>, validated when the host starts.</summary>
public sealed class RedisOptions
{
    /// <summary>
    /// The servers, in the form of StackExchange.Redis: <c>host:port</c>, several with commas between (all masters of a cluster, or a master and its replicas),
    /// then <c>password=</c>, <c>ssl=true</c> and the like.
    /// </summary>
    public string? Connection { get; set; }

    /// <summary>What every key begins with; another one for each system that shares a Redis. Default <c>sagas</c>.</summary>
    public string Prefix { get; set; } = "sagas";

    /// <summary>Over how many partitions sagas are spread; on a cluster each lies on one master. Cannot be changed once there are sagas. Default 16.</summary>
    [Range(1, 1024)]
    public int Partitions { get; set; } = 16;

    /// <summary>How long Redis may take for an answer before its outcome counts as unknown. Default 3 s.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(3);

    /// <summary>How long a starting node waits for Redis. Default 10 s.</summary>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>For how long a node that does not renew its lease keeps its sagas; then the others take them over. Renewed five times in that time. Default 5 s.</summary>
    public TimeSpan Lease { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// For a participant's barrier on a cluster: the hash tag of the service's own keys, so that rows lie where its data does and <see cref="RedisEffects"/> can write
    /// both. Default none: rows are spread over the cluster.
    /// </summary>
    public string? BarrierTag { get; set; }

    /// <summary>
    /// For how long a participant's process that has crashed, or does not reach Redis, keeps the steps it is at; then another process may begin them. A handler may
    /// take longer: it is renewed three times in that time. Default 10 s.
    /// </summary>
    public TimeSpan BarrierLease { get; set; } = TimeSpan.FromSeconds(10);

    internal ConfigurationOptions Parse()
    {
        var parsed = ConfigurationOptions.Parse(Connection ?? "");
        // It connects when Redis comes, and again whenever the connection is cut.
        parsed.AbortOnConnectFail = false;
        parsed.ConnectTimeout = (int)Math.Min(ConnectTimeout.TotalMilliseconds, 5000);
        parsed.SyncTimeout = (int)Timeout.TotalMilliseconds;
        parsed.KeepAlive = Math.Max(1, (int)Timeout.TotalSeconds);
        // For CONFIG GET and INFO, by which the start checks what the server keeps.
        parsed.AllowAdmin = true;
        return parsed;
    }

    /// <summary>The connection string without its secrets: of a setting that is not known to be harmless the value is left out, for it may be a misspelt password.</summary>
    internal string Shown => string.Join(',', Parts().Select(static part => part.Shown));

    /// <summary>Takes the secrets out of another's message.</summary>
    internal string Scrub(string message) => Parts().Where(static part => part.Secret.Length > 0).Aggregate(message, static (text, part) => text.Replace(part.Secret, "***"));

    private IEnumerable<(string Shown, string Secret)> Parts()
    {
        var afterPassword = false;
        foreach (var part in (Connection ?? "").Split(','))
        {
            var (at, equals) = (part.LastIndexOf('@'), part.IndexOf('='));
            // A password with a comma in it goes on; user and password stand before an @, as in a URL.
            if (equals < 0 && afterPassword) yield return ("***", part);
            else if (equals < 0) yield return at < 0 ? (part, "") : ("***" + part[at..], part[..at]);
            else yield return Harmless.Contains(part[..equals].Trim()) ? (part, "") : (part[..(equals + 1)] + "***", part[(equals + 1)..].Trim());
            afterPassword |= equals >= 0 && part[..equals].Trim().Equals("password", StringComparison.OrdinalIgnoreCase);
        }
    }

    private static readonly HashSet<string> Harmless = new(["ssl", "sslHost", "abortConnect", "connectRetry", "connectTimeout", "syncTimeout", "keepAlive", "name", "defaultDatabase", "allowAdmin", "serviceName"],
        StringComparer.OrdinalIgnoreCase);
}

internal sealed class ValidRedisOptions : IValidateOptions<RedisOptions>
{
    private const string Section = "Sagas:Redis";

    public ValidateOptionsResult Validate(string? name, RedisOptions options)
    {
        var faults = new List<string>();
        if (string.IsNullOrWhiteSpace(options.Connection)) faults.Add($"{Section}:Connection is empty. Name the servers, such as 'localhost:6379' or 'redis-1:6379,redis-2:6379,password=…,ssl=true'.");
        else
        {
            try
            {
                if (options.Parse().EndPoints.Count == 0) faults.Add($"{Section}:Connection '{options.Shown}' names no server. Begin with 'host:port'.");
            }
            catch (Exception e) when (e is ArgumentException or FormatException or OverflowException)
            {
                faults.Add($"{Section}:Connection '{options.Shown}' cannot be read: {options.Scrub(e.Message)} Expected is 'host:port', several with commas between, then settings such as 'password=…,ssl=true'.");
            }
        }
        if (options.Prefix.Length is 0 or > 64 || options.Prefix.Any(static c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.' or ':')))
            faults.Add($"{Section}:Prefix '{options.Prefix}' cannot begin keys. Use 1 to 64 of A-Z a-z 0-9 . _ : -.");
        if (options.BarrierTag is { } tag && (tag.Length is 0 or > 64 || tag.Any(static c => c is '{' or '}' || char.IsControl(c))))
            faults.Add($"{Section}:BarrierTag '{tag}' is no hash tag. Use 1 to 64 characters, without the braces.");
        if (options.Partitions is < 1 or > 1024) faults.Add($"{Section}:Partitions is {options.Partitions}. Use 1 to 1024.");
        Check("Timeout", options.Timeout, TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(1));
        Check("ConnectTimeout", options.ConnectTimeout, TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10));
        Check("Lease", options.Lease, TimeSpan.FromSeconds(1), TimeSpan.FromHours(1));
        Check("BarrierLease", options.BarrierLease, TimeSpan.FromSeconds(1), TimeSpan.FromHours(1));
        return faults.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(faults);

        void Check(string key, TimeSpan value, TimeSpan least, TimeSpan most)
        {
            if (value < least || value > most) faults.Add($"{Section}:{key} is {value}. Use a time from {least} to {most}.");
        }
    }
}
