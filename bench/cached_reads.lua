-- Reads of one row by its primary key, and writes to it, for tables with a cache class (see bench/cached.py).
--
-- Every event is one statement. sysbench 1.0 has no Zipf distribution: the one here looks its keys up in the cumulated
-- weights 1/rank^exponent.

if sysbench.cmdline.command == nil then
   error("Command is required. Supported commands: run")
end

sysbench.cmdline.options = {
   tables = {"Number of tables: always one", 1},
   table_size = {"Rows of the table", 10000},
   table = {"Name of the table", "sbtest1"},
   keys = {"Rows that are asked for", 10000},
   pattern = {"How keys are chosen: uniform, zipf, deal (each in turn by one client), new (no statement twice)", "uniform"},
   exponent = {"Of the Zipf distribution", 1},
   writes = {"Of a hundred statements, how many are UPDATEs", 0},
   first = {"Where the numbers begin that make statements of the pattern `new` differ", 1},
   prepared = {"Ask with server-side prepared statements", false},
}

local cumulated

local function weigh(keys, exponent)
   local sums, sum = {}, 0
   for rank = 1, keys do
      sum = sum + 1 / rank ^ exponent
      sums[rank] = sum
   end
   return sums
end

local function zipf()
   local low, high = 1, #cumulated
   local wanted = sysbench.rand.uniform_double() * cumulated[high]
   while low < high do
      local middle = math.floor((low + high) / 2)
      if cumulated[middle] < wanted then
         low = middle + 1
      else
         high = middle
      end
   end
   return low
end

function thread_init()
   con = sysbench.sql.driver():connect()
   count = 0
   if sysbench.opt.pattern == "zipf" then
      cumulated = weigh(sysbench.opt.keys, sysbench.opt.exponent)
   end
   if sysbench.opt.prepared then
      statement = con:prepare("SELECT c FROM " .. sysbench.opt.table .. " WHERE id=?")
      key = statement:bind_create(sysbench.sql.type.INT)
      statement:bind_param(key)
   end
end

function thread_done()
   con:disconnect()
end

function event()
   local opt = sysbench.opt
   local place = count * opt.threads + sysbench.tid
   local id
   count = count + 1
   if opt.pattern == "zipf" then
      id = zipf()
   elseif opt.pattern == "deal" then
      id = place % opt.keys + 1
   else
      id = sysbench.rand.uniform(1, opt.keys)
   end
   if opt.writes > 0 and sysbench.rand.uniform(1, 100) <= opt.writes then
      con:query(string.format("UPDATE %s SET k=k+1 WHERE id=%d", opt.table, id))
   elseif opt.pattern == "new" then
      con:query(string.format("SELECT c FROM %s WHERE id=%d AND k<>%d", opt.table, id, opt.first + place))
   elseif opt.prepared then
      key:set(id)
      statement:execute()
   else
      con:query(string.format("SELECT c FROM %s WHERE id=%d", opt.table, id))
   end
end
